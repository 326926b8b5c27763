import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fromTensors } from "../../src/data/from-tensors.ts";
import { openCheckpointFolder } from "../../src/formats/checkpoint/open.node.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { planOf } from "../../src/plans/settings.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { type FolderPruneOptions, pruneFolder } from "../../src/stream/folders/prune-folder.node.ts";
import { fromInts } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import type { LlamaSizes } from "../../src/testbeds/models/llama-checkpoint.ts";

/** A Llama of four blocks, small enough to be pruned a hundred times. */
export const sizes: LlamaSizes = { vocabulary: 60, width: 32, layers: 4, heads: 4, kvHeads: 2, inner: 48 };

/** Prunes half of the checkpoint in a folder, always the same way. */
export async function pruneAlike(
  runtime: Runtime,
  from: string,
  out: string,
  criterion: string,
  options: Partial<FolderPruneOptions> = {},
): Promise<void> {
  const plan = planOf({ granularity: "weight", criterion, scope: "row", sparsity: 0.5 }, 0);
  if (plan.kind !== "weights") throw new Error("expected a plan of weights");
  const source = random(3);
  const tokens = Array.from({ length: 6 * 16 }, () => source.int(sizes.vocabulary));
  const calibration = fromTensors(new Map([["input_ids", fromInts("i64", [6, 16], tokens)]]));
  const model = checkpointModel(await openCheckpointFolder(from));
  await pruneFolder(model, out, plan, { runtime, calibration, batchSize: 2, ...options });
}

/** Each file of a folder by its name, and what tells its bytes from others. */
export async function prints(folder: string): Promise<ReadonlyMap<string, string>> {
  const files = (await readdir(folder)).sort();
  const digest = async (file: string): Promise<string> =>
    createHash("sha256")
      .update(await readFile(join(folder, file)))
      .digest("hex");
  return new Map(await Promise.all(files.map(async (file) => [file, await digest(file)] as const)));
}
