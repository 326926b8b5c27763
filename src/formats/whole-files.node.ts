import { type FileHandle, open, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EspalierError } from "../tensor/error.ts";
import type { Piece } from "./onnx/message.ts";
import { type Sink, writePieces } from "./onnx/write.ts";

let saves = 0;

/** A file to be written, by its absolute path. */
interface WholeFile {
  readonly path: string;
  readonly pieces: readonly Piece[];
}

/**
 * Writes files to disk, complete or not at all: under temporary names first, synced, then renamed in their order. Throws
 * `file` where the disk refuses, naming `where`; temporary files are then removed.
 */
export async function writeWhole(files: readonly WholeFile[], where: string): Promise<void> {
  const named = files.map(({ path, pieces }) => {
    saves++;
    return { path, pieces, temporary: join(dirname(path), `.${basename(path)}.${process.pid}-${saves}.tmp`) };
  });
  try {
    for (const { temporary, pieces } of named) await writeSynced(temporary, pieces);
    for (const { temporary, path } of named) await rename(temporary, path);
    for (const folder of new Set(named.map(({ path }) => dirname(path)))) await syncFolder(folder);
  } catch (cause) {
    for (const { temporary } of named) await rm(temporary, { force: true }).catch(() => undefined);
    if (cause instanceof EspalierError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("file", where, `expected to write the file, got "${reason}".`, "Check the disk and path.", {
      cause,
    });
  }
}

async function writeSynced(path: string, content: readonly Piece[]): Promise<void> {
  const handle = await open(path, "wx");
  try {
    await writePieces(content, sinkOf(handle));
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function sinkOf(handle: FileHandle): Sink {
  return {
    async write(bytes) {
      for (let done = 0; done < bytes.length; ) {
        done += (await handle.write(bytes, done, bytes.length - done)).bytesWritten;
      }
    },
  };
}

/** Makes the new name last through a power cut, where the system lets a folder be synced. */
export async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, "r").catch(() => undefined);
  await handle?.sync().catch(() => undefined);
  await handle?.close();
}

/** Throws `file` where a folder is to appear and something is there already. */
export async function refuseOccupied(path: string): Promise<void> {
  const there = await readdir(resolve(path)).catch((cause: unknown) => (isMissing(cause) ? [] : ["a file"]));
  if (there.length === 0) return;
  const hint = "Name another folder, or remove this one; nothing is overwritten.";
  throw new EspalierError("file", path, `expected no folder or an empty one, got one with ${there[0]}.`, hint);
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && "code" in cause && cause.code === "ENOENT";
}
