import type { Loader } from "./loader.ts";
import type { OfTypes } from "./model-types.ts";
import { knownType } from "./rules.ts";

const known: OfTypes<boolean> = {
  llama: true,
  mistral: true,
  qwen2: true,
  qwen3: true,
  phi3: true,
  gemma: true,
  gemma2: true,
  gemma3_text: true,
  olmo2: true,
  gpt2: true,
  gpt_neox: true,
  opt: true,
  mixtral: false,
  qwen2_moe: true,
  qwen3_moe: true,
  olmoe: false,
  deepseek_v2: false,
  deepseek_v3: true,
  bert: true,
  roberta: true,
  "xlm-roberta": true,
  camembert: true,
  modernbert: true,
  vit: true,
};

/** Transformers.js with an exported model: it learns the sizes of caches from the graph's inputs. */
export const transformersJs: Loader = {
  title: "Transformers.js",
  version: "4.3",
  reads: "onnx",
  device: "wasm",
  rules: [knownType(known, "It has no class for this type.")],
};
