import type { Loader } from "./loader.ts";
import type { OfTypes } from "./model-types.ts";
import { queriesPerKey, sameInEveryBlock, widthByHeads } from "./rules.ts";

/** Types whose configs are refused, or whose attention is built wrongly, unless the width divides by the heads. */
const widthDivides: OfTypes<boolean> = {
  // The config is checked although it states head_dim.
  llama: true,
  deepseek_v2: true,
  // The size of a head is the width over the heads.
  gpt2: true,
  gpt_neox: true,
  opt: true,
  bert: true,
  roberta: true,
  "xlm-roberta": true,
  camembert: true,
  modernbert: true,
  vit: true,
  mistral: false,
  qwen2: false,
  qwen3: false,
  phi3: false,
  gemma: false,
  gemma2: false,
  gemma3_text: false,
  olmo2: false,
  mixtral: false,
  qwen2_moe: false,
  qwen3_moe: false,
  olmoe: false,
  deepseek_v3: false,
};

/** What configs of Transformers are checked for when they are read. */
export const configWidth = widthByHeads(
  widthDivides,
  "Configs of this type are refused otherwise, even where they state head_dim.",
);

/** Hugging Face Transformers, in Python. */
export const transformers: Loader = {
  title: "transformers",
  version: "5.15",
  reads: "checkpoint",
  rules: [
    sameInEveryBlock("Models of this type build every block from the same sizes, whatever per_layer_config says."),
    queriesPerKey,
    configWidth,
  ],
};
