import type { Loader } from "./loader.ts";
import type { OfTypes } from "./model-types.ts";
import { knownType, queriesPerKey, rowsInMultiples, sameInEveryBlock } from "./rules.ts";

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
  opt: false,
  mixtral: true,
  qwen2_moe: true,
  qwen3_moe: true,
  olmoe: true,
  deepseek_v2: true,
  deepseek_v3: true,
  bert: true,
  roberta: true,
  "xlm-roberta": true,
  camembert: true,
  modernbert: true,
  vit: false,
};

/** llama.cpp, after conversion to GGUF. */
export const llamaCpp: Loader = {
  title: "llama.cpp",
  version: "GGUF 3",
  reads: "checkpoint",
  rules: [
    knownType(known, "The conversion to GGUF knows no such architecture."),
    sameInEveryBlock("GGUF files of this architecture state one size for all blocks."),
    queriesPerKey,
    rowsInMultiples(32, "limited", "Types of blocks of 32 (Q4_0, Q8_0) leave other rows in 16 bits."),
    rowsInMultiples(
      256,
      "limited",
      "Types of blocks of 256 (Q4_K, Q6_K) leave other rows to larger types of blocks of 32.",
    ),
  ],
};
