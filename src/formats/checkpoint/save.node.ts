import { mkdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import type { Piece } from "../onnx/message.ts";
import { encodeSafetensors } from "../safetensors/write.ts";
import { refuseOccupied, syncFolder, writeWhole } from "../whole-files.node.ts";
import { jsonText } from "./json.ts";
import { keptFile, keptText } from "./kept.ts";
import type { Checkpoint } from "./open.ts";
import { indexOf, shardsOf } from "./shards.ts";

export interface SaveOptions {
  /** Texts that are written beside the checkpoint, or in place of its files of the same names, by their names. */
  readonly texts?: ReadonlyMap<string, string>;
  /** Bytes of a shard; default 5 GB. */
  readonly shardBytes?: number;
}

let saves = 0;

/**
 * Writes a checkpoint as a folder: shards, config.json, what is left of its original, and the files beside them. It appears under its name when it is
 * complete, or not at all. Throws `file` where something is there already, or where the disk refuses.
 */
export async function saveCheckpoint(checkpoint: Checkpoint, path: string, options: SaveOptions = {}): Promise<void> {
  const target = resolve(path);
  await refuseOccupied(path);
  saves++;
  const folder = join(dirname(target), `.${basename(target)}.${process.pid}-${saves}.tmp`);
  try {
    await mkdir(folder, { recursive: true });
    await writeWhole(
      [...filesOf(checkpoint, options)].map(([file, pieces]) => ({ path: join(folder, basename(file)), pieces })),
      path,
    );
    await rename(folder, target);
    await syncFolder(dirname(target));
  } catch (cause) {
    await rm(folder, { recursive: true, force: true }).catch(() => undefined);
    if (cause instanceof EspalierError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError(
      "file",
      path,
      `expected to write the checkpoint, got "${reason}".`,
      "Check disk and path.",
      {
        cause,
      },
    );
  }
}

/** The files of a checkpoint by their names. */
function filesOf(
  checkpoint: Checkpoint,
  { texts = new Map(), shardBytes }: SaveOptions,
): Map<string, readonly Piece[]> {
  const files = new Map<string, readonly Piece[]>();
  const text = (value: string): readonly Piece[] => [new TextEncoder().encode(value)];
  for (const [name, source] of checkpoint.files) files.set(name, [pieceOf(source)]);
  const shards = shardsOf(checkpoint.tensors, shardBytes);
  const metadata = new Map([["format", "pt"], ...checkpoint.metadata]);
  for (const { file, tensors } of shards) files.set(file, encodeSafetensors({ tensors, metadata }));
  if (shards.length > 1) files.set("model.safetensors.index.json", text(indexOf(shards)));
  files.set("config.json", text(`${jsonText(checkpoint.config, checkpoint.fractions ?? new Set())}\n`));
  if (checkpoint.kept !== undefined) files.set(keptFile, text(keptText(checkpoint.kept)));
  for (const [name, value] of texts) files.set(name, text(value));
  return files;
}

/** A whole file as bytes that pass through when their turn comes. */
function pieceOf(source: ByteSource): Piece {
  return { dtype: "u8", shape: [source.size], at: { source, offset: 0, length: source.size } };
}
