import { EspalierError } from "../../tensor/error.ts";
import type { Job } from "../../tensor/progress.ts";
import type { TokenBudget } from "../../tokenizers/smaller/choose-tokens.ts";
import { type FittedTokenizer, fitTokenizer } from "../../tokenizers/smaller/fit-tokenizer.ts";
import type { Texts } from "../../tokenizers/smaller/usage.ts";
import type { CheckpointModel } from "../checkpoint/checkpoint-model.ts";
import { heldTokens, type KeptTokens, keepTokens, tokenizerFilesOf } from "./keep-tokens.ts";

/** A checkpoint with the tokens that some texts use, and what was measured on these. */
export interface FittedTokens extends KeptTokens {
  readonly fitted: FittedTokenizer;
}

/**
 * The checkpoint with only the tokens that texts use, or fewer, as `fitTokenizer` chooses and verifies them; rows of the
 * embedding without a token go. Throws `request` for models without tokens or a tokenizer.json.
 */
export async function fitTokens(
  model: CheckpointModel,
  texts: Texts,
  budget: Pick<TokenBudget, "count" | "roundTo"> = {},
  job: Job = {},
): Promise<FittedTokens> {
  const { name, outline, checkpoint } = model;
  const files = outline.vocabulary === 0 ? null : await tokenizerFilesOf(checkpoint);
  if (files === null) {
    const hint = "Save the tokenizer in its fast form, which writes a tokenizer.json.";
    throw new EspalierError("request", name, "expected a model of tokens with a tokenizer.json, got none.", hint);
  }
  const { rows: keep } = await heldTokens(model);
  const fitted = await fitTokenizer(files, texts, { ...budget, rows: outline.vocabulary, keep }, job);
  return { ...(await keepTokens(model, fitted.chosen.kept)), fitted };
}
