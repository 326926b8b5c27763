import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { completeLock } from "./lock.ts";

test("package-lock.json holds the packages of every platform, so that npm ci works on each", () => {
  const { added } = completeLock(JSON.parse(readFileSync("package-lock.json", "utf8")));
  expect(added, "run npm run lock").toEqual([]);
});

test("a missing platform is added with what its name says, a present one stays", () => {
  const present = { version: "1.0.0", cpu: ["x64"], os: ["linux"], optional: true, integrity: "sha512-x" };
  const optionalDependencies = {
    "@t/t-linux-x64": "1.0.0",
    "@t/t-linuxmusl-arm64": "1.0.0",
    "@t/t-win32-ia32-msvc": "2",
  };
  const { lock, added } = completeLock({
    name: "kept",
    packages: {
      "": {},
      "node_modules/t": { version: "1.0.0", dev: true, optionalDependencies },
      "node_modules/t/node_modules/@t/t-linux-x64": present,
    },
  });
  expect(added).toEqual(["node_modules/@t/t-linuxmusl-arm64", "node_modules/@t/t-win32-ia32-msvc"]);
  expect(lock.name).toBe("kept");
  expect(Object.keys(lock.packages)[0]).toBe("");
  expect(lock.packages).toMatchObject({
    "node_modules/t/node_modules/@t/t-linux-x64": present,
    "node_modules/@t/t-linuxmusl-arm64": { version: "1.0.0", cpu: ["arm64"], os: ["linux"], libc: ["musl"], dev: true },
    "node_modules/@t/t-win32-ia32-msvc": { version: "2", cpu: ["ia32"], os: ["win32"], optional: true },
  });
});

test("a name without a platform is refused rather than guessed", () => {
  const packages = { "node_modules/t": { optionalDependencies: { mystery: "1.0.0" } } };
  expect(() => completeLock({ packages })).toThrow("mystery");
});
