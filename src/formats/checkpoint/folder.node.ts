import { readdir, stat } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { EspalierError } from "../../tensor/error.ts";
import { fileSource } from "../source/file.node.ts";
import type { Folder } from "./folder.ts";

/** A folder of a disk. Links are followed: a hub's cache is made of them. Throws `file` where it cannot be listed. */
export async function diskFolder(path: string): Promise<Folder> {
  const absolute = resolve(path);
  const names = await readdir(absolute).catch((cause: unknown) => {
    const message = "expected a folder with a checkpoint, got none.";
    throw new EspalierError("file", path, message, "Check the path.", { cause });
  });
  const files: string[] = [];
  for (const name of names.sort()) {
    const status = await stat(join(absolute, name)).catch(() => undefined);
    if (status?.isFile() === true) files.push(name);
  }
  return { name: basename(absolute), files, open: (file) => fileSource(join(absolute, basename(file))) };
}
