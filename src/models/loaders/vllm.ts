import type { Loader } from "./loader.ts";
import type { OfTypes } from "./model-types.ts";
import { headsOf, knownType, queriesPerKey, rowsInMultiples, sameInEveryBlock, splitsOver } from "./rules.ts";
import { configWidth } from "./transformers.ts";

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
  mixtral: true,
  qwen2_moe: true,
  qwen3_moe: true,
  olmoe: true,
  deepseek_v2: true,
  deepseek_v3: true,
  bert: true,
  roberta: true,
  "xlm-roberta": true,
  camembert: false,
  modernbert: true,
  vit: false,
};

/** Types that keep keys and values as one vector, for which there are kernels of their own. */
const latent: ReadonlySet<string> = new Set(["deepseek_v2", "deepseek_v3"]);

const split = "Tensor parallelism gives every device as many heads and inner features.";

/** vLLM, which reads configs with Transformers and has models of its own. */
export const vllm: Loader = {
  title: "vLLM",
  version: "0.27",
  reads: "checkpoint",
  rules: [
    knownType(known, "It has no model of this type of its own."),
    sameInEveryBlock("Fields that differ from block to block are an error when the config is read."),
    queriesPerKey,
    configWidth,
    headsOf(
      8,
      256,
      latent,
      "FlashAttention has kernels for these; others go to slower attention, or to none on some devices.",
    ),
    ...[2, 4, 8].map((devices) => splitsOver(devices, split)),
    rowsInMultiples(16, "limited", "Matrices of 8 bits go to slower kernels otherwise."),
    rowsInMultiples(128, "limited", "Matrices of 4 bits (Marlin) take inputs in multiples of 128."),
  ],
};
