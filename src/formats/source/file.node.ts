import { close, open, read } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { checkRange } from "./source.ts";

const openFile = promisify(open);
const readFile = promisify(read);

/** Linux reads at most 2 GiB in one call. */
const largestRead = 1 << 30;

/** Closes the file of a source that nobody holds any more. A source stays readable when its file is replaced. */
const forgotten = new FinalizationRegistry<number>((fd) => close(fd, () => undefined));

/** A file on disk, opened at the first read. Throws `file` where it cannot be opened or is no regular file. */
export async function fileSource(path: string): Promise<ByteSource> {
  const absolute = resolve(path);
  const status = await stat(absolute).catch((cause: unknown) => refuse(path, cause));
  if (!status.isFile()) throw new EspalierError("file", path, "expected a file, got a folder or a device.");
  const { size } = status;
  let opened: Promise<number> | undefined;
  const source: ByteSource = {
    name: path,
    path: absolute,
    size,
    async read(offset, length) {
      checkRange(path, size, offset, length);
      const bytes = new Uint8Array(length);
      if (length === 0) return bytes;
      opened ??= openFile(absolute, "r").then((fd) => {
        forgotten.register(source, fd);
        return fd;
      });
      try {
        const fd = await opened;
        for (let done = 0; done < length; ) {
          const step = await readFile(fd, bytes, done, Math.min(length - done, largestRead), offset + done);
          if (step.bytesRead === 0) checkRange(path, offset + done, offset, length);
          done += step.bytesRead;
        }
      } catch (cause) {
        if (cause instanceof EspalierError) throw cause;
        refuse(path, cause);
      }
      return bytes;
    },
  };
  return source;
}

function refuse(path: string, cause: unknown): never {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const reason = code === "ENOENT" ? "no such file" : code === "EACCES" ? "no permission" : String(cause);
  throw new EspalierError("file", path, `expected a readable file, got ${reason}.`, "Check the path.", { cause });
}
