import type { Loader, Rule } from "./loader.ts";
import type { OfTypes } from "./model-types.ts";
import {
  knownType,
  queriesFillWidth,
  queriesPerKey,
  rowsInMultiples,
  sameInEveryBlock,
  wholeByteTokens,
} from "./rules.ts";

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

/** Types whose queries are built as wide as the model, whatever size of a head is stated. */
const fillsWidth: OfTypes<boolean> = {
  llama: false,
  mistral: false,
  qwen2: true,
  qwen3: false,
  phi3: true,
  gemma: false,
  gemma2: false,
  gemma3_text: false,
  olmo2: true,
  gpt2: true,
  gpt_neox: true,
  opt: false,
  mixtral: false,
  qwen2_moe: true,
  qwen3_moe: false,
  olmoe: true,
  deepseek_v2: false,
  deepseek_v3: false,
  bert: true,
  roberta: true,
  "xlm-roberta": true,
  camembert: true,
  modernbert: true,
  vit: false,
};

/** The conversion states four times the width inside the MLPs of GPT-2, whatever its config says. */
const fourTimesWide: Rule = {
  severity: "refused",
  expected: "a width inside MLPs of four times the width of the model",
  because: "The conversion states that for this type, whatever n_inner says.",
  breaches: ({ type, fields }) => {
    const [width = 0] = fields.get("n_embd") ?? [];
    const inner = fields.get("n_inner") ?? [];
    if (type !== "gpt2" || inner.every((value) => value === 4 * width)) return [];
    return [{ got: `n_inner = ${inner.join(", ")} for n_embd = ${width}`, ways: [["n_inner"]] }];
  },
};

/** DeepSeek-V2-Lite is told from others by the number of its blocks. */
const blocksOfLite: Rule = {
  severity: "refused",
  expected: "a number of blocks of 26 or 27 where queries have no rank",
  because: "Another number is taken for the large model, whose queries have one.",
  breaches: ({ type, fields, blocks }) =>
    type === "deepseek_v2" && !fields.has("q_lora_rank") && blocks !== 26 && blocks !== 27
      ? [{ got: `${blocks} blocks`, ways: [] }]
      : [],
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
    queriesFillWidth(fillsWidth, "Attention of this type is built with queries as wide as the model."),
    fourTimesWide,
    blocksOfLite,
    wholeByteTokens(
      "The conversion to GGUF knows byte-level tokenizers by the ids that they give to one text, and not these.",
    ),
    rowsInMultiples(32, "limited", "Types of blocks of 32 (Q4_0, Q8_0) leave other rows in 16 bits."),
    rowsInMultiples(
      256,
      "limited",
      "Types of blocks of 256 (Q4_K, Q6_K) leave other rows to larger types of blocks of 32.",
    ),
  ],
};
