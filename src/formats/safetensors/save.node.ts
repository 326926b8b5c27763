import { resolve } from "node:path";
import { writeWhole } from "../whole-files.node.ts";
import type { Safetensors } from "./read.ts";
import { encodeSafetensors } from "./write.ts";

/** Writes a safetensors file to disk, complete or not at all. */
export async function saveSafetensors(file: Safetensors, path: string): Promise<void> {
  await writeWhole([{ path: resolve(path), pieces: encodeSafetensors(file) }], path);
}
