import * as z from "zod";
import { didYouMean, EspalierError } from "../../tensor/error.ts";
import type { ByteSource, TensorRef } from "../../tensor/tensor.ts";
import { readSafetensors } from "../safetensors/read.ts";
import { withoutBitmasks } from "./bitmask.ts";
import { withoutScales } from "./float8.ts";
import type { Folder } from "./folder.ts";
import { type Json, readJson, readJsonFile } from "./json.ts";
import { type Kept, keptFile, parseKept } from "./kept.ts";

/** A checkpoint as it lies in a folder: a config, named tensors that stay in their files, and what belongs beside them. */
export interface Checkpoint {
  /** Name of the folder. */
  readonly name: string;
  /** config.json. */
  readonly config: Json;
  /** Fields of it whose numbers have a fraction though they are whole, which strict readers ask for. */
  readonly fractions?: ReadonlySet<string>;
  /** In the order of the files, and in a file of their places. */
  readonly tensors: ReadonlyMap<string, TensorRef>;
  /** The file of each tensor. */
  readonly shardOf: ReadonlyMap<string, string>;
  /** Texts in the headers of the files, `format` among them. */
  readonly metadata: ReadonlyMap<string, string>;
  /** What is left of the original, where it was pruned from one by espalier; written as kept-indices.json. */
  readonly kept?: Kept;
  /** Everything else in the folder: tokenizer, chat template, settings of generation. */
  readonly files: ReadonlyMap<string, ByteSource>;
}

const configFile = "config.json";
const singleFile = "model.safetensors";
const indexFile = "model.safetensors.index.json";

const indexShape = z.object({ weight_map: z.record(z.string(), z.string()) });

/**
 * Opens a checkpoint: config.json, and model.safetensors or the shards that model.safetensors.index.json names. Only
 * headers are read. Throws `format` where files are damaged or contradict each other, `file` where one is missing.
 */
export async function openCheckpoint(folder: Folder): Promise<Checkpoint> {
  if (!folder.files.includes(configFile)) {
    const hint = "Give the folder of a checkpoint: config.json and its .safetensors files lie side by side.";
    throw new EspalierError("file", folder.name, `expected a file ${configFile}, got none.`, hint);
  }
  const { json: config, fractions } = await readJsonFile(await folder.open(configFile));
  const index = folder.files.includes(singleFile) ? undefined : await readIndex(folder);
  const shards = index === undefined ? [singleFile] : [...new Set(index.values())].sort();
  const tensors = new Map<string, TensorRef>();
  const shardOf = new Map<string, string>();
  const metadata = new Map<string, string>();
  for (const shard of shards) {
    if (!folder.files.includes(shard)) {
      const hint = `It holds ${listed(tensorsIn(index, shard))}. Fetch the missing file; nothing can be done without it.`;
      throw new EspalierError("file", folder.name, `expected the shard "${shard}", got none.`, hint);
    }
    const read = await readSafetensors(await folder.open(shard));
    for (const [name, text] of read.metadata) metadata.set(name, text);
    for (const [name, ref] of byPlace(read.tensors)) {
      const promised = index?.get(name);
      if (index !== undefined && promised !== shard) {
        const said = promised === undefined ? "does not name it" : `places it in "${promised}"`;
        const message = `expected the tensors that ${indexFile} promises, got "${name}", but the index ${said}.`;
        throw new EspalierError("format", `${folder.name}/${shard}`, message, "Fetch index and shards of one version.");
      }
      tensors.set(name, ref);
      shardOf.set(name, shard);
    }
  }
  for (const [name, shard] of index ?? []) {
    if (tensors.has(name)) continue;
    const message = `expected the tensor "${name}" that ${indexFile} promises, got none.`;
    const hint = didYouMean(name, tensors.keys()) || "Fetch index and shards of one version.";
    throw new EspalierError("format", `${folder.name}/${shard}`, message, hint);
  }
  const apart = new Set([configFile, singleFile, indexFile, ...shards]);
  const files = new Map<string, ByteSource>();
  for (const file of folder.files) if (!apart.has(file)) files.set(file, await folder.open(file));
  const opened = withoutScales(
    await withoutBitmasks({ name: folder.name, config, fractions, tensors, shardOf, metadata, files }),
  );
  const kept = await keptOf(opened);
  if (kept === null) return opened;
  files.delete(keptFile);
  return { ...opened, files, kept };
}

/** What is left of an original; null where nothing tells it. */
async function keptOf({ files, tensors }: Checkpoint): Promise<Kept | null> {
  const source = files.get(keptFile);
  if (source === undefined) return null;
  const value = await readJson(source).catch((cause: unknown) => {
    if (cause instanceof EspalierError && cause.code === "format") return null;
    throw cause;
  });
  return parseKept(value, tensors);
}

async function readIndex(folder: Folder): Promise<ReadonlyMap<string, string>> {
  if (!folder.files.includes(indexFile)) {
    const pickled = folder.files.find((file) => /\.(bin|pth?|ckpt)$/.test(file));
    const hint =
      pickled === undefined
        ? "Give the folder of a checkpoint in safetensors."
        : `"${pickled}" is a pickle, which can run any code and is not read. Convert it where it is trusted: save_pretrained(..., safe_serialization=True).`;
    throw new EspalierError("file", folder.name, `expected ${singleFile} or ${indexFile}, got neither.`, hint);
  }
  const source = await folder.open(indexFile);
  const parsed = indexShape.safeParse(await readJson(source));
  if (!parsed.success) {
    throw new EspalierError("format", source.name, 'expected a "weight_map" of tensors to files, got something else.');
  }
  return new Map(Object.entries(parsed.data.weight_map));
}

function byPlace(tensors: ReadonlyMap<string, TensorRef>): readonly (readonly [string, TensorRef])[] {
  return [...tensors].sort(([, a], [, b]) => (a.at?.offset ?? 0) - (b.at?.offset ?? 0));
}

function tensorsIn(index: ReadonlyMap<string, string> | undefined, shard: string): readonly string[] {
  return [...(index ?? [])].filter(([, file]) => file === shard).map(([name]) => name);
}

function listed(names: readonly string[]): string {
  if (names.length === 0) return "all tensors";
  return `${names.slice(0, 3).join(", ")}${names.length > 3 ? ` and ${names.length - 3} more` : ""}`;
}
