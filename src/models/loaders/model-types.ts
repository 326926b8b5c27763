/** Every `model_type` that becomes a model, so that tables of loaders are complete or do not compile. */
export const modelTypes = [
  "llama",
  "mistral",
  "qwen2",
  "qwen3",
  "phi3",
  "gemma",
  "gemma2",
  "gemma3_text",
  "olmo2",
  "gpt2",
  "gpt_neox",
  "opt",
  "mixtral",
  "qwen2_moe",
  "qwen3_moe",
  "olmoe",
  "deepseek_v2",
  "deepseek_v3",
  "bert",
  "roberta",
  "xlm-roberta",
  "camembert",
  "modernbert",
  "vit",
] as const;

export type ModelType = (typeof modelTypes)[number];

/** What holds for each `model_type`. */
export type OfTypes<T> = Readonly<Record<ModelType, T>>;

/** Its entry for a `model_type`; undefined for one that is not known. */
export function ofType<T>(table: OfTypes<T>, type: string): T | undefined {
  const known = modelTypes.find((one) => one === type);
  return known === undefined ? undefined : table[known];
}
