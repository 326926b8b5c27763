import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import type { Piece } from "../../formats/onnx/message.ts";
import { saveOnnx } from "../../formats/onnx/save.node.ts";
import { refuseOccupied, syncFolder, writeWhole } from "../../formats/whole-files.node.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type Job, step } from "../../tensor/progress.ts";
import type { CheckpointModel } from "../checkpoint/checkpoint-model.ts";
import { exportCheckpoint, jsonText, type WeightForm } from "./export-checkpoint.ts";

export interface ExportOptions extends Job {
  /** How weights are stored, in a file each; the first is loaded unless told. Default: fp32. */
  readonly forms?: readonly WeightForm[];
  /** Weights lie in a file beside the model; where a file would be too large unless told. */
  readonly externalData?: boolean | "auto";
}

/** A file that was written, by its path in the folder. */
export interface ExportedFile {
  readonly file: string;
  readonly bytes: number;
}

let exports = 0;

/**
 * Writes a checkpoint as ONNX in the layout of Transformers.js into a folder, which appears under its name when it is
 * complete. Throws `file` where something is there already or the disk refuses.
 */
export async function exportFolder(
  model: CheckpointModel,
  out: string,
  { forms = ["fp32"], externalData = "auto", ...job }: ExportOptions = {},
): Promise<readonly ExportedFile[]> {
  const target = resolve(out);
  await refuseOccupied(out);
  const exported = await exportCheckpoint(model, forms);
  exports++;
  const folder = join(dirname(target), `.${basename(target)}.${process.pid}-export${exports}.tmp`);
  try {
    await mkdir(join(folder, "onnx"), { recursive: true });
    const external: string[] = [];
    let done = 0;
    for (const [file, onnx] of exported.models) {
      step(job, "write", done++, exported.models.size, file);
      await saveOnnx(onnx, join(folder, "onnx", file), { externalData });
      if ((await stat(join(folder, "onnx", `${file}_data`)).catch(() => null)) !== null) external.push(file);
    }
    const texts = new Map([...exported.texts, ["config.json", jsonText(exported.config(external))] as const]);
    const pieces = new Map<string, readonly Piece[]>();
    for (const [name, source] of exported.files) {
      pieces.set(name, [{ dtype: "u8", shape: [source.size], at: { source, offset: 0, length: source.size } }]);
    }
    for (const [name, text] of texts) pieces.set(name, [new TextEncoder().encode(text)]);
    await writeWhole(
      [...pieces].map(([name, content]) => ({ path: join(folder, basename(name)), pieces: content })),
      out,
    );
    const written = await sizesIn(folder);
    await rename(folder, target);
    await syncFolder(dirname(target));
    step(job, "write", done, exported.models.size);
    return written;
  } catch (cause) {
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    if (cause instanceof EspalierError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    const message = `expected to write the export, got "${reason}".`;
    throw new EspalierError("file", out, message, "Check disk and path.", { cause });
  }
}

async function sizesIn(folder: string): Promise<readonly ExportedFile[]> {
  const found: ExportedFile[] = [];
  for (const file of (await readdir(folder, { recursive: true })).sort()) {
    const status = await stat(join(folder, file));
    if (status.isFile()) found.push({ file: file.replaceAll("\\", "/"), bytes: status.size });
  }
  return found;
}
