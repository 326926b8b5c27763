import type { Loader, Rule } from "./loader.ts";
import type { OfTypes } from "./model-types.ts";
import {
  expertRowsInMultiples,
  queriesFillWidth,
  queriesPerKey,
  sameInEveryBlock,
  unfilledWidth,
  widthByHeads,
} from "./rules.ts";

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

/** Types with norms over all queries that are as wide as the model, whatever the heads are. */
const fillsWidth: OfTypes<boolean> = {
  llama: false,
  mistral: false,
  qwen2: false,
  qwen3: false,
  phi3: false,
  gemma: false,
  gemma2: false,
  gemma3_text: false,
  olmo2: false,
  gpt2: false,
  gpt_neox: false,
  opt: false,
  mixtral: false,
  qwen2_moe: false,
  qwen3_moe: false,
  olmoe: true,
  deepseek_v2: false,
  deepseek_v3: false,
  bert: false,
  roberta: false,
  "xlm-roberta": false,
  camembert: false,
  modernbert: false,
  vit: false,
};

/** The field with the features inside an expert, in the types that have experts. */
const insideExperts: OfTypes<string | null> = {
  llama: null,
  mistral: null,
  qwen2: null,
  qwen3: null,
  phi3: null,
  gemma: null,
  gemma2: null,
  gemma3_text: null,
  olmo2: null,
  gpt2: null,
  gpt_neox: null,
  opt: null,
  mixtral: "intermediate_size",
  qwen2_moe: "moe_intermediate_size",
  qwen3_moe: "moe_intermediate_size",
  olmoe: "intermediate_size",
  deepseek_v2: "moe_intermediate_size",
  deepseek_v3: "moe_intermediate_size",
  bert: null,
  roberta: null,
  "xlm-roberta": null,
  camembert: null,
  modernbert: null,
  vit: null,
};

/** Factors of long contexts, one for each pair of turning features, are counted by the width over the heads. */
const longRope: Rule = {
  severity: "refused",
  expected: "as many features in all query heads together as the width has, beside factors of a longrope",
  because: "The number of these factors is checked against the width over the heads, even where head_dim is stated.",
  breaches: (sizes) => {
    const { rope_scaling: scaling, rope_parameters: parameters } = sizes.config;
    const isLong = [scaling, parameters].some((one) => typeof one === "object" && one !== null && "long_factor" in one);
    return isLong && sizes.type === "phi3" ? unfilledWidth(sizes) : [];
  },
};

/** Positions turn pairs of features that lie behind those of the narrow state, which has to end at a pair. */
const evenRank: Rule = {
  severity: "refused",
  expected: "a rank of keys and values that is even",
  because: "Turning features are read as complex numbers behind it.",
  breaches: ({ type, fields }) => {
    const odd = (fields.get("kv_lora_rank") ?? []).find((rank) => rank % 2 !== 0);
    if (type !== "deepseek_v2" || odd === undefined) return [];
    return [{ got: `kv_lora_rank = ${odd}`, ways: [["kv_lora_rank"]] }];
  },
};

/** Hugging Face Transformers, in Python. */
export const transformers: Loader = {
  title: "transformers",
  version: "5.17",
  reads: "checkpoint",
  rules: [
    sameInEveryBlock("Models of this type build every block from the same sizes, whatever per_layer_config says."),
    queriesPerKey,
    configWidth,
    queriesFillWidth(fillsWidth, "Its norm of queries has as many gains as the model has features."),
    evenRank,
    longRope,
    expertRowsInMultiples(
      8,
      insideExperts,
      'Experts are multiplied by a kernel that takes rows of whole 16 bytes; others run with experts_implementation="eager" alone.',
    ),
  ],
};
