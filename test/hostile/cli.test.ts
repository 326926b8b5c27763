import { execFile, execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { handMade } from "./hand-made.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const model = join(root, "examples/glyphs/glyphs.onnx");
const whole = readFileSync(model);
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "espalier-cli-"));
  writeFileSync(join(folder, "cut.onnx"), whole.subarray(0, whole.length >> 1));
  writeFileSync(join(folder, "cycle.onnx"), handMade({ reads: "b" }));
  mkdirSync(join(folder, "images"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Ended {
  readonly code: number | string | null;
  readonly stderr: string;
  readonly stdout: string;
}

function espalier(...args: string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(
      process.execPath,
      ["--import", "tsx", join(root, "src/cli/main.ts"), ...args],
      { cwd: root, timeout: 100_000 },
      (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : (error.code ?? error.signal ?? null), stdout, stderr }),
    );
  });
}

/** Each: arguments, exit code, what the sentence on stderr names. */
const cases: readonly (readonly [
  name: string,
  args: (at: (file: string) => string) => string[],
  code: number,
  names: RegExp,
])[] = [
  [
    "a file cut short",
    (at) => ["prune", at("cut.onnx"), "-o", at("out.onnx"), "--keep-macs", "0.5"],
    1,
    /cut\.onnx|tensor/,
  ],
  ["a cycle", (at) => ["inspect", at("cycle.onnx")], 1, /cycle/],
  ["a file that is not there", (at) => ["inspect", at("absent.onnx")], 1, /absent\.onnx/],
  ["a folder", (at) => ["prune", at("images"), "-o", at("out.onnx"), "--keep-macs", "0.5"], 1, /images/],
  [
    "an empty folder of images",
    (at) => ["prune", model, "-o", at("out.onnx"), "--keep-macs", "0.5", "--calib", at("images")],
    1,
    /images/,
  ],
  [
    "a target out of reach",
    (at) => ["prune", model, "-o", at("out.onnx"), "--keep-macs", "0.00001"],
    2,
    /keep-macs|target|MACs/i,
  ],
  ["a share above one", (at) => ["prune", model, "-o", at("out.onnx"), "--keep-macs", "1.5"], 2, /keep-macs/],
  ["a number that is none", (at) => ["prune", model, "-o", at("out.onnx"), "--keep-macs", "half"], 2, /keep-macs/],
  ["an option that does not exist", (at) => ["prune", model, "-o", at("out.onnx"), "--keep-mac", "0.5"], 2, /keep-mac/],
  ["no output", () => ["prune", model, "--keep-macs", "0.5"], 2, /-o/],
  [
    "an output in a folder that is not there",
    (at) => ["prune", model, "-o", at("nowhere/out.onnx"), "--keep-macs", "0.5"],
    1,
    /nowhere/,
  ],
  ["an output that is a folder", (at) => ["prune", model, "-o", at("images"), "--keep-macs", "0.5"], 1, /images/],
];

describe("the command line on bad input", () => {
  it("ends with 1 or 2, a sentence, no output and an untouched input", async () => {
    const at = (file: string): string => join(folder, file);
    const before = readdirSync(folder).sort();
    const found: string[] = [];
    // Two at a time, as each is a process of its own that starts for seconds.
    const pending = [...cases];
    const work = async (): Promise<void> => {
      for (let next = pending.shift(); next !== undefined; next = pending.shift()) {
        const [name, args, code, names] = next;
        const ended = await espalier(...args(at));
        if (ended.code !== code) found.push(`${name}: expected exit ${code}, got ${ended.code}: ${ended.stderr}`);
        if (!names.test(ended.stderr)) found.push(`${name}: expected ${names} on stderr, got ${ended.stderr}`);
        if (/\n\s+at .*:\d+:\d+/.test(ended.stderr)) found.push(`${name}: expected no stack, got ${ended.stderr}`);
      }
    };
    await Promise.all([work(), work()]);
    expect(found).toEqual([]);
    expect(readdirSync(folder).sort()).toEqual(before);
    expect(digest(readFileSync(model))).toBe(digest(whole));
  });

  it("never writes over its input", async () => {
    const own = join(folder, "own.onnx");
    writeFileSync(own, whole);
    const ended = await espalier("prune", own, "-o", own, "--keep-macs", "0.5");
    expect(ended).toMatchObject({ code: 2, stderr: expect.stringContaining("own.onnx") });
    expect(digest(readFileSync(own))).toBe(digest(whole));
  });

  it("prunes the example when nothing is wrong", async () => {
    const out = join(folder, "good.onnx");
    const ended = await espalier("prune", model, "-o", out, "--keep-macs", "0.5", "--round-to", "1");
    expect(ended).toMatchObject({ code: 0 });
    expect(statSync(out).size).toBeLessThan(whole.length);
  });

  it("reports a full disk and leaves nothing on it (needs root to mount one)", async ({ skip }) => {
    const disk = join(folder, "disk");
    mkdirSync(disk);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], { stdio: "ignore" });
    } catch {
      skip("expected the right to mount a small disk, got none.");
    }
    try {
      const ended = await espalier(
        "prune",
        model,
        "-o",
        join(disk, "out.onnx"),
        "--keep-macs",
        "0.5",
        "--round-to",
        "1",
      );
      expect(ended).toMatchObject({ code: 1, stderr: expect.stringMatching(/out\.onnx.*(space|ENOSPC)/s) });
      expect(existsSync(join(disk, "out.onnx"))).toBe(false);
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      execFileSync("umount", [disk]);
    }
  });
});

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
