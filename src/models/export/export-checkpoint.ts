import * as z from "zod";
import { type Json, readJson } from "../../formats/checkpoint/json.ts";
import { modelOf } from "../../formats/onnx/encode.ts";
import type { OnnxModel } from "../../formats/onnx/model.ts";
import type { Graph, ValueInfo } from "../../graph/graph.ts";
import { inEightBits } from "../../ops/storage/in-eight-bits.ts";
import { inFloat32 } from "../../ops/storage/in-float32.ts";
import { inHalf } from "../../ops/storage/in-half.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import type { Kind } from "../checkpoint/architecture.ts";
import type { CheckpointModel } from "../checkpoint/checkpoint-model.ts";
import type { Feeding } from "../checkpoint/frame.ts";

/** How weights lie in an ONNX file, by the names that Transformers.js has for it. */
export const weightForms = ["fp32", "fp16", "q8"] as const;
export type WeightForm = (typeof weightForms)[number];

const forms: Readonly<Record<WeightForm, { readonly file: string; readonly write: (graph: Graph) => Graph }>> = {
  fp32: { file: "model.onnx", write: (graph) => graph },
  fp16: { file: "model_fp16.onnx", write: inHalf },
  q8: { file: "model_quantized.onnx", write: inEightBits },
};

/** Names of the files that models lie in. */
export const formFiles: readonly string[] = weightForms.map((form) => forms[form].file);

/** A checkpoint as a folder that Transformers.js loads. */
export interface Exported {
  /** Models by the names of their files, which lie in the folder `onnx`. */
  readonly models: ReadonlyMap<string, OnnxModel>;
  /** Files that are written anew where there were none: what Transformers.js needs beside config and tokenizer. */
  readonly texts: ReadonlyMap<string, string>;
  /** Files that are taken over: tokenizer, chat template, settings of generation. */
  readonly files: ReadonlyMap<string, ByteSource>;
  /** config.json, where `external` names the models whose weights lie in a file `_data` beside them. */
  config(external: readonly string[]): Json;
}

/** What a model of each kind is fed. */
const feedings: Readonly<Record<Kind, Feeding>> = { decoder: "cached", encoder: "padded", vision: "tokens" };

/**
 * A checkpoint as ONNX in the layout of Transformers.js: decoders with their cache as inputs `past_key_values.N.key` and
 * outputs `present.N.key`. Which form is loaded unless told is that of the first.
 */
export async function exportCheckpoint(
  model: CheckpointModel,
  wanted: readonly WeightForm[] = ["fp32"],
): Promise<Exported> {
  const { checkpoint, kind } = model;
  const whole = withAxisNames(inFloat32(model.graph(feedings[kind]).graph));
  const models = new Map(wanted.map((form) => [forms[form].file, modelOf(forms[form].write(whole))]));
  const files = new Map([...checkpoint.files].filter(([name]) => isBeside(name)));
  const made = new Map<string, Json>();
  if (kind === "decoder")
    made.set("generation_config.json", { _from_model_config: true, ...tokensOf(checkpoint.config) });
  const tokenizer = files.get("tokenizer.json");
  if (tokenizer !== undefined) made.set("tokenizer_config.json", await tokenizerConfig(tokenizer, checkpoint.config));
  const missing = [...made].filter(([name]) => !files.has(name));
  return {
    models,
    files,
    texts: new Map(missing.map(([name, json]) => [name, jsonText(json)])),
    config: (external) => ({
      ...checkpoint.config,
      "transformers.js_config": {
        dtype: wanted[0] ?? "fp32",
        ...(external.length === 0
          ? {}
          : { use_external_data_format: Object.fromEntries(external.map((file) => [file, 1])) }),
      },
    }),
  };
}

/** Names of open axes by which Transformers.js knows how large a cache is. */
const axisNames: ReadonlyMap<string, string> = new Map([
  ["batch", "batch_size"],
  ["time", "sequence_length"],
  ["past", "past_sequence_length"],
  ["total", "total_sequence_length"],
]);

function withAxisNames(graph: Graph): Graph {
  const named = (info: ValueInfo): ValueInfo =>
    info.dims === undefined
      ? info
      : { ...info, dims: info.dims.map((n) => (typeof n === "string" ? (axisNames.get(n) ?? n) : n)) };
  return { ...graph, inputs: graph.inputs.map(named), outputs: graph.outputs.map(named), valueInfo: new Map() };
}

/** Files that say how text is read and written; weights in other forms stay behind. */
function isBeside(name: string): boolean {
  return /\.(json|jinja|txt|model|md)$|^(LICENSE|NOTICE)/i.test(name) && !name.endsWith(".index.json");
}

const tokenKinds = ["bos", "eos", "pad"] as const;

/** Ids of the tokens that begin, end and fill texts, as a config states them. */
function tokensOf(config: Json): Json {
  const stated = tokenKinds.map((kind) => [`${kind}_token_id`, config[`${kind}_token_id`]] as const);
  return Object.fromEntries(stated.filter(([, id]) => id !== undefined && id !== null));
}

/** What a tokenizer's own file leaves open: its class, and which tokens begin, end and fill texts. */
async function tokenizerConfig(tokenizer: ByteSource, config: Json): Promise<Json> {
  const json = await readJson(tokenizer, 2 ** 28);
  const added = json["added_tokens"];
  const texts = new Map<unknown, unknown>();
  for (const token of Array.isArray(added) ? added : []) {
    const found = addedToken.safeParse(token).data;
    if (found !== undefined) texts.set(found.id, found.content);
  }
  const named = tokenKinds.map((kind) => [`${kind}_token`, texts.get([config[`${kind}_token_id`]].flat()[0])] as const);
  const known = named.filter(([, text]) => text !== undefined);
  const begin = named[0]?.[1];
  // Clients put the first token before a text only where they are told to.
  const template = JSON.stringify(json["post_processor"] ?? null);
  const begins = begin !== undefined && template.includes(`"SpecialToken":{"id":${JSON.stringify(begin)}`);
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    ...(begins ? { add_bos_token: true } : {}),
    ...Object.fromEntries(known),
  };
}

const addedToken = z.object({ id: z.number(), content: z.string() });

/** JSON as it lies in a file. */
export function jsonText(json: Json): string {
  return `${JSON.stringify(json, null, 2)}\n`;
}
