import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { memorySource } from "../source/source.ts";

/** Files side by side: a folder of a disk, what a user dropped into a page, or a listing of a hub. */
export interface Folder {
  readonly name: string;
  /** Names of its files, without those of folders inside. */
  readonly files: readonly string[];
  /** Opens one of `files`. */
  open(file: string): Promise<ByteSource>;
}

/** Files in memory as a folder. */
export function memoryFolder(name: string, files: ReadonlyMap<string, Uint8Array>): Folder {
  return {
    name,
    files: [...files.keys()],
    open: async (file) => memorySource(`${name}/${file}`, files.get(file) ?? missing(name, file)),
  };
}

function missing(name: string, file: string): never {
  throw new EspalierError("file", name, `expected a file "${file}", got none.`);
}
