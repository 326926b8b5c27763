import type { IndexedDataset } from "./data/dataset.ts";
import { isFolder } from "./data/files/file.node.ts";
import { type OpenOptions as DataOptions, openData as openDataAt } from "./data/open.node.ts";
import type { Documents } from "./data/text/documents.ts";
import { openDocuments as openDocumentsAt } from "./data/text/open-text.node.ts";
import { openCheckpointFolder } from "./formats/checkpoint/open.node.ts";
import { modelOf } from "./formats/onnx/encode.ts";
import { openOnnx } from "./formats/onnx/external.node.ts";
import { saveOnnx } from "./formats/onnx/save.node.ts";
import { stageOnnx } from "./formats/onnx/stage.node.ts";
import { httpSource } from "./formats/source/http.ts";
import { type CheckpointModel, checkpointModel } from "./models/checkpoint/checkpoint-model.ts";
import { withFixed } from "./models/fix.ts";
import { type Model, modelFrom } from "./models/model.ts";
import type { Report } from "./pipeline/measuring/report.ts";
import { type LoadOptions, loadFrom } from "./public.ts";
import type { TrainReport } from "./recipes/train-recipe.ts";
import type { CheckpointReport } from "./stream/report.ts";
import type { CompareReport } from "./studies/compare.ts";
import type { SensitivityReport } from "./studies/sensitivity.ts";

export { imageFolder } from "./data/files/images.node.ts";
export type { OpenOptions as DataOptions } from "./data/open.node.ts";
export { type SaveOptions, saveCheckpoint } from "./formats/checkpoint/save.node.ts";
export { type ExportedFile, type ExportOptions, exportFolder } from "./models/export/export-folder.node.ts";
export { exportedModelIn } from "./models/export/exported-model.node.ts";
export * from "./public.ts";
export { byteCount } from "./recipes/byte-count.ts";
export {
  type CheckpointRecipeOptions,
  checkpointDataOptions,
  checkpointSteps,
  runCheckpointRecipe,
} from "./recipes/checkpoint-recipe.node.ts";
export { parseRecipe, type Recipe, runRecipe } from "./recipes/recipe.ts";
export {
  parseTrainRecipe,
  requestOf,
  type TrainModelOptions,
  type TrainRecipe,
  type TrainReport,
  trainModel,
} from "./recipes/train-recipe.ts";
export { type OpenOptions, openRuntime } from "./runtime/open-runtime.node.ts";
export { type FolderPruneOptions, pruneFolder } from "./stream/folders/prune-folder.node.ts";
export { type FolderPartOptions, pruneFolderParts } from "./stream/folders/prune-folder-parts.node.ts";
export type { TokenTexts } from "./stream/folders/prune-folder-tokens.node.ts";
export { type FolderUnitOptions, pruneFolderUnits } from "./stream/folders/prune-folder-units.node.ts";
export { openTestbed, testbedIds } from "./testbeds/open.node.ts";
export { tokenizerAt } from "./tokenizers/tokenizer-files.node.ts";
export { keepSnapshots, type SnapshotKeeper } from "./train/snapshot-file.node.ts";
export { isFolder };

/** Reads a model from a path, an http(s) address, a Blob or bytes; a folder is one of a checkpoint. */
export async function load(from: string | URL | Blob | Uint8Array, options: LoadOptions = {}): Promise<Model> {
  if (typeof from !== "string") return loadFrom(from, options);
  if (/^https?:\/\//.test(from)) return loadFrom(new URL(from), options);
  if (await isFolder(from)) {
    const { graph } = (await loadCheckpoint(from)).graph();
    return modelFrom(options.name ?? from, modelOf(graph), {
      save: (model, path) => saveOnnx(model, path),
      stage: stageOnnx,
    });
  }
  return modelFrom(options.name ?? from, await withFixed(await openOnnx(from), options.fix ?? new Map()), {
    save: (model, path) => saveOnnx(model, path),
    stage: stageOnnx,
  });
}

/**
 * Opens calibration or evaluation data by path, several in sequence: a folder of images, .npy, .npz, idx, CIFAR, text (by an
 * http(s) address too). With `inputs` it is checked against the model and converted.
 */
export async function openData(spec: string | readonly string[], options: DataOptions = {}): Promise<IndexedDataset> {
  return openDataAt(spec, { remote: httpSource, ...options });
}

/** Opens text by path as it is written: .txt, .jsonl, .parquet. */
export async function openDocuments(spec: string | readonly string[], options: DataOptions = {}): Promise<Documents> {
  return openDocumentsAt(typeof spec === "string" ? [spec] : spec, { remote: httpSource, ...options });
}

/** Reads a checkpoint from the folder that it lies in: config.json beside its .safetensors files. */
export async function loadCheckpoint(path: string): Promise<CheckpointModel> {
  return checkpointModel(await openCheckpointFolder(path));
}

/** The report of a pruning as one HTML page with plots. The plotting library is only loaded here. */
export async function reportHtml(report: Report): Promise<string> {
  return (await import("./report/report-html.ts")).reportHtml(report);
}

/** The report of a checkpoint that was pruned stage by stage as one HTML page with plots. */
export async function checkpointHtml(report: CheckpointReport): Promise<string> {
  return (await import("./report/checkpoint-html.ts")).checkpointHtml(report);
}

/** The report of a training as one HTML page with its curves. */
export async function trainHtml(report: TrainReport): Promise<string> {
  return (await import("./report/train-html.ts")).trainHtml(report);
}

/** A comparison of methods as one HTML page. */
export async function compareHtml(report: CompareReport): Promise<string> {
  return (await import("./report/compare-html.ts")).compareHtml(report);
}

/** What each group costs at each sparsity as one HTML page. */
export async function sensitivityHtml(report: SensitivityReport): Promise<string> {
  return (await import("./report/sensitivity-html.ts")).sensitivityHtml(report);
}
