import { existsSync } from "node:fs";

/** The software Vulkan driver inside Debian's chromium package. */
const driver = ["/usr/lib/chromium", "/usr/lib/chromium-browser", "/opt/google/chrome"]
  .map((folder) => `${folder}/vk_swiftshader_icd.json`)
  .find((path) => existsSync(path));

/** Environment in which a process finds SwiftShader as its only GPU; null where it is not installed. */
export const swiftShader: Readonly<Record<string, string>> | null =
  driver === undefined ? null : { VK_ICD_FILENAMES: driver, VK_DRIVER_FILES: driver };
