import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { formFiles } from "./export-checkpoint.ts";

/** A model in a folder of ONNX files. */
export interface ExportedModel {
  readonly path: string;
  /** Most tokens that it can look at, where its config says. */
  readonly positions: number | undefined;
}

const shape = z.object({
  max_position_embeddings: z.number().optional().catch(undefined),
  n_positions: z.number().optional().catch(undefined),
});

/** The first of the models that a folder in the layout of Transformers.js holds; null where it is no such folder. */
export async function exportedModelIn(folder: string): Promise<ExportedModel | null> {
  for (const file of formFiles) {
    const path = join(folder, "onnx", file);
    if ((await stat(path).catch(() => null))?.isFile() !== true) continue;
    const config = shape.safeParse(parsed(await readFile(join(folder, "config.json"), "utf8").catch(() => ""))).data;
    return { path, positions: config?.max_position_embeddings ?? config?.n_positions };
  }
  return null;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
