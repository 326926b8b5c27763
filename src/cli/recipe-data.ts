import {
  type DataOptions,
  type Documents,
  type IndexedDataset,
  openData,
  openDocuments,
  type Recipe,
} from "../index.node.ts";
import { given } from "./shared-options.ts";

/** Opens data that a recipe names. Paths are relative to the recipe; `near` resolves them. */
export async function recipeData(
  data: NonNullable<Recipe["calibration"]>,
  near: (path: string) => string,
  options: DataOptions,
): Promise<IndexedDataset> {
  const { path, labels, limit, scale, mean, std, size, layout } = data;
  return openData(path === "random" ? path : near(path), {
    ...options,
    ...given({ scale, mean, std, size, layout }),
    ...given({ limit: limit ?? options.limit, labels: labels === undefined ? undefined : near(labels) }),
    text: { ...options.text, ...textOf(data, near) },
  });
}

/** Opens the text of data as it is written. */
export async function recipeDocuments(
  data: NonNullable<Recipe["calibration"]>,
  near: (path: string) => string,
  options: DataOptions,
): Promise<Documents> {
  return openDocuments(near(data.path), { ...options, text: { ...options.text, ...textOf(data, near) } });
}

/** How text becomes tokens, as far as the recipe tells. */
function textOf(
  data: NonNullable<Recipe["calibration"]>,
  near: (path: string) => string,
): NonNullable<DataOptions["text"]> {
  const { tokenizer, window, stride, begin, documents, first, field, separator } = data;
  const { prompt, response, messages, chat } = data;
  return {
    ...given({ window, stride, begin, perDocument: documents, first, field, separator }),
    ...given({ prompt, response, messages, chat }),
    ...given({ tokenizer: tokenizer === undefined ? undefined : near(tokenizer) }),
  };
}
