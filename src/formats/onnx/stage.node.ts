import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EspalierError } from "../../tensor/error.ts";
import { syncFolder } from "../whole-files.node.ts";
import { openOnnx } from "./external.node.ts";
import type { OnnxModel } from "./model.ts";
import { checkTargets, saveOnnx } from "./save.node.ts";

let stages = 0;

/**
 * Writes a model into a temporary folder beside `path`, so that it can be measured as it will be read before anybody sees
 * it. Throws like `saveOnnx`.
 */
export async function stageOnnx(
  model: OnnxModel,
  path: string,
): Promise<{
  onnx: OnnxModel;
  commit(): Promise<OnnxModel>;
  discard(): Promise<void>;
}> {
  const target = resolve(path);
  await checkTargets(model.graph, target);
  stages++;
  const folder = join(dirname(target), `.${basename(target)}.${process.pid}-stage${stages}.tmp`);
  const staged = join(folder, basename(target));
  const discard = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    await mkdir(folder);
    await saveOnnx(model, staged);
    return {
      onnx: await openOnnx(staged),
      commit: async () => {
        // The data first: a model that appears finds its weights.
        await rename(`${staged}_data`, `${target}_data`).catch(onlyMissing);
        await rename(staged, target);
        await syncFolder(dirname(target));
        await discard();
        return openOnnx(target);
      },
      discard,
    };
  } catch (cause) {
    await discard().catch(() => undefined);
    if (cause instanceof EspalierError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("file", path, `expected to write the model, got "${reason}".`, "Check the disk and path.", {
      cause,
    });
  }
}

/** A model whose weights fit into its file has no second one. */
function onlyMissing(cause: unknown): void {
  if (!(cause instanceof Error && "code" in cause && cause.code === "ENOENT")) throw cause;
}
