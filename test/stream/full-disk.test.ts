import { execFileSync } from "node:child_process";
import type * as Files from "node:fs/promises";
import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { saveCheckpoint } from "../../src/formats/checkpoint/save.node.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { EspalierError } from "../../src/tensor/error.ts";
import { llamaCheckpoint } from "../../src/testbeds/models/llama-checkpoint.ts";
import { prints, pruneAlike, sizes } from "./endurance.ts";

/** A disk that has room for so many more bytes, and how many were written to it. */
const disk = vi.hoisted(() => ({ room: Number.POSITIVE_INFINITY, written: 0 }));

vi.mock(import("node:fs/promises"), async (original) => {
  const real = await original();
  const full = () => Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
  /** What a full disk takes of bytes: as many as there is room for, and nothing after that. */
  const taken = (length: number): number => {
    const size = Math.min(length, disk.room);
    if (size === 0 && length > 0) throw full();
    disk.room -= size;
    disk.written += size;
    return size;
  };
  const limited = (handle: Files.FileHandle): Files.FileHandle =>
    new Proxy(handle, {
      get: (target, name) => {
        if (name === "write") {
          return async (bytes: Uint8Array, from = 0, length = bytes.length - from, at?: number) =>
            target.write(bytes, from, taken(length), at);
        }
        if (name === "writeFile") {
          return async (text: string) => {
            const bytes = Buffer.from(text);
            const size = taken(bytes.length);
            await target.writeFile(bytes.subarray(0, size));
            if (size < bytes.length) throw full();
          };
        }
        const value: unknown = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  const open: typeof real.open = async (...args) => limited(await real.open(...args));
  return { ...real, open, default: { ...real, open } };
});

let folder = "";
let from = "";
let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = await mkdtemp(join(tmpdir(), "espalier-disk-"));
  from = join(folder, "llama");
  await saveCheckpoint(llamaCheckpoint(sizes), from);
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

const failure = (cause: unknown): EspalierError =>
  cause instanceof EspalierError ? cause : expect.fail(String(cause));

const patient = { timeout: 900_000 };

it(
  "a disk that is full after any byte gives a clear error, nothing under the name, and goes on when there is room",
  patient,
  async () => {
    disk.written = 0;
    await pruneAlike(runtime, from, join(folder, "whole"), "wanda");
    const expected = await prints(join(folder, "whole"));
    const total = disk.written;
    expect(total).toBeGreaterThan(50_000);
    // The first and the last byte, the journal's head, and what lies between.
    const rooms = [0, 1, 300, ...Array.from({ length: 9 }, (_, i) => Math.floor((total * (i + 0.5)) / 9)), total - 1];
    for (const room of rooms) {
      const name = `out-${room}`;
      disk.room = room;
      const { code, message } = await pruneAlike(runtime, from, join(folder, name), "wanda").then(
        () => expect.fail(`expected no room behind ${room} bytes of ${total}`),
        failure,
      );
      expect(code).toBe("file");
      expect(message).toMatch(/expected .*no space left on device/);
      expect(await readdir(folder)).not.toContain(name);
      disk.room = Number.POSITIVE_INFINITY;
      await pruneAlike(runtime, from, join(folder, name), "wanda", { resume: true });
      expect(await prints(join(folder, name))).toEqual(expected);
      await rm(join(folder, name), { recursive: true });
    }
    expect((await readdir(folder)).filter((name) => name.startsWith("."))).toEqual([]);
  },
);

it("a small disk that is full is gone on with when it grew (needs root to mount one)", patient, async ({ skip }) => {
  const place = join(folder, "disk");
  await mkdir(place);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=100k", "tmpfs", place], { stdio: "ignore" });
  } catch {
    skip("expected the right to mount a small disk, got none.");
  }
  try {
    const out = join(place, "out");
    const { code, message } = await pruneAlike(runtime, from, out, "wanda").then(() => expect.fail("fits"), failure);
    expect(code).toBe("file");
    expect(message).toMatch(/no space left on device.*make room .* repeat with --resume/s);
    expect(await readdir(place)).toEqual([".out.espalier"]);
    execFileSync("mount", ["-o", "remount,size=8m", place], { stdio: "ignore" });
    await pruneAlike(runtime, from, out, "wanda", { resume: true });
    expect(await prints(out)).toEqual(await prints(join(folder, "whole")));
    expect(await readdir(place)).toEqual(["out"]);
  } finally {
    // Files that were read may still be open.
    execFileSync("umount", ["-l", place]);
  }
});
