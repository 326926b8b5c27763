import { type FileHandle, open, rm } from "node:fs/promises";
import { EspalierError } from "../../tensor/error.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { HiddenStates } from "./hidden-states.ts";

/** Hidden states in a file, which is removed when they are released; a batch is in memory while it runs. Throws `file`. */
export async function hiddenOnDisk(path: string): Promise<HiddenStates> {
  const file = await open(path, "w+").catch(refuse(path));
  const places: (Omit<HostTensor, "bytes"> & { readonly at: number; readonly length: number })[] = [];
  let end = 0;
  let isOpen = true;
  return {
    get batches() {
      return places.length;
    },
    read: async (batch) => {
      const place = places[batch];
      if (place === undefined) {
        throw new EspalierError("request", path, `expected a batch below ${places.length}, got ${batch}.`);
      }
      const { at, length, dtype, shape } = place;
      const bytes = new Uint8Array(length);
      for (let done = 0; done < length; ) {
        const { bytesRead } = await file.read(bytes, done, length - done, at + done).catch(refuse(path));
        if (bytesRead === 0) throw new EspalierError("file", path, `expected ${length} bytes at ${at}, got the end.`);
        done += bytesRead;
      }
      return { dtype, shape, bytes };
    },
    write: async (batch, { dtype, shape, bytes }) => {
      const known = places[batch];
      const length = bytes.byteLength;
      // What does not fit where the batch was goes to the end.
      const at = known !== undefined && known.length >= length ? known.at : end;
      end = Math.max(end, at + length);
      await writeAll(file, bytes, at).catch(refuse(path));
      places[batch] = { dtype, shape, at, length };
    },
    release: async () => {
      if (!isOpen) return;
      isOpen = false;
      await file.close();
      await rm(path, { force: true });
    },
  };
}

async function writeAll(file: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    done += (await file.write(bytes, done, bytes.byteLength - done, at + done)).bytesWritten;
  }
}

function refuse(path: string): (cause: unknown) => never {
  return (cause) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const hint = "Make room, or give more --memory.";
    throw new EspalierError("file", path, `expected room for hidden states, got "${reason}".`, hint, { cause });
  };
}
