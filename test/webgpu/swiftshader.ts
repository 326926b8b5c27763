import { existsSync } from "node:fs";

/** The software Vulkan driver inside Debian's chromium package. */
const driver = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"]
  .map((folder) => `${folder}/vk_swiftshader_icd.json`)
  .find((path) => existsSync(path));

/** The Vulkan loader, through which the driver is reached: Debian's libvulkan1. */
const hasLoader = ["x86_64-linux-gnu", "aarch64-linux-gnu", "", "../lib64"].some((folder) =>
  existsSync(`/usr/lib/${folder}/libvulkan.so.1`),
);

/** Environment in which a process finds SwiftShader as its only GPU; null where it is not installed. */
export const swiftShader: Readonly<Record<string, string>> | null =
  driver === undefined || !hasLoader ? null : { VK_ICD_FILENAMES: driver, VK_DRIVER_FILES: driver };
