import { open, readFile, stat } from "node:fs/promises";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { checkRange } from "./bytes.ts";

/** A file as a byte source. It is opened for each read, so nothing has to be closed. Throws `file`. */
export async function openFile(path: string): Promise<ByteSource> {
  const { size } = await describePath(path);
  return {
    name: path,
    path,
    size,
    async read(offset, length) {
      checkRange(path, size, offset, length);
      const bytes = new Uint8Array(length);
      const file = await refused(path, open(path, "r"));
      try {
        let filled = 0;
        while (filled < length) {
          const { bytesRead } = await refused(path, file.read(bytes, filled, length - filled, offset + filled));
          if (bytesRead === 0) checkRange(path, offset + filled, offset, length);
          filled += bytesRead;
        }
      } finally {
        await file.close();
      }
      return bytes;
    },
  };
}

/** What lies at a path. Throws `file` where nothing does, or neither a file nor a folder. */
export async function describePath(path: string): Promise<{ readonly folder: boolean; readonly size: number }> {
  const found = await refused(path, stat(path));
  if (!found.isFile() && !found.isDirectory()) {
    throw new EspalierError("file", path, "expected a file or a folder, got something else.");
  }
  return { folder: found.isDirectory(), size: found.size };
}

/** True for a path where a folder lies. */
export async function isFolder(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

/** A text file of at most `limit` bytes. Throws `file`, and `data` where it is larger. */
export async function readText(path: string, limit: number): Promise<string> {
  const { size } = await describePath(path);
  if (size > limit) throw new EspalierError("data", path, `expected at most ${limit} bytes of text, got ${size}.`);
  return refused(path, readFile(path, "utf8"));
}

/** Turns a refusal of the operating system into a `file` error that names the path. */
export async function refused<T>(path: string, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : String(cause);
    const reasons: Readonly<Record<string, string>> = { ENOENT: "nothing there", EACCES: "no permission" };
    const got = reasons[code] ?? code;
    throw new EspalierError("file", path, `expected a readable file, got ${got}.`, "Check the path.", { cause });
  }
}
