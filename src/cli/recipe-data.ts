import { type DataOptions, type IndexedDataset, openData, type Recipe } from "../index.node.ts";
import { given } from "./shared-options.ts";

/** Opens data that a recipe names. Paths are relative to the recipe; `near` resolves them. */
export async function recipeData(
  data: NonNullable<Recipe["calibration"]>,
  near: (path: string) => string,
  options: DataOptions,
): Promise<IndexedDataset> {
  const { path, labels, tokenizer, window, stride, begin, documents, first, field, separator, limit, ...others } = data;
  const { prompt, response, messages, chat, ...rest } = others;
  return openData(path === "random" ? path : near(path), {
    ...options,
    ...given({ ...rest, limit: limit ?? options.limit, labels: labels === undefined ? undefined : near(labels) }),
    text: {
      ...options.text,
      ...given({ window, stride, begin, perDocument: documents, first, field, separator }),
      ...given({ prompt, response, messages, chat }),
      ...given({ tokenizer: tokenizer === undefined ? undefined : near(tokenizer) }),
    },
  });
}
