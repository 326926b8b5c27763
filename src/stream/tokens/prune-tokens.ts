import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { sliceEntries, tokenField } from "../../models/checkpoint/entries.ts";
import { loadSizes } from "../../models/loaders/sizes.ts";
import type { LoaderName } from "../../models/loaders/table.ts";
import { type Load, refuseUnloadable, willLoad } from "../../models/loaders/will-load.ts";
import { type FittedTokens, fitTokens } from "../../models/tokens/fit-tokens.ts";
import type { PhaseClock } from "../../pipeline/measuring/phase-clock.ts";
import type { TokenPlan } from "../../plans/tokens.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { LawResult } from "../../surgery/law.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { Job } from "../../tensor/progress.ts";
import type { Texts } from "../../tokenizers/smaller/usage.ts";
import { isByteLevel } from "../../tokenizers/smaller/vocabulary.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import { type PartsLeft, sizesOf } from "../report.ts";
import { checkTokens } from "./check-tokens.ts";

export interface TokenPruneOptions extends Job {
  readonly runtime: Runtime;
  readonly corpus: Texts;
  readonly clock: PhaseClock;
  /** What has to load the result; nothing is done where one would not. */
  readonly loaders?: readonly LoaderName[];
}

export interface PrunedTokens {
  readonly checkpoint: Checkpoint;
  readonly tokenizer: Tokenizer;
  readonly parts: readonly PartsLeft[];
  readonly law: LawResult;
  readonly loads: readonly Load[];
  readonly advice: readonly string[];
}

/**
 * Removes tokens of a checkpoint that a corpus does not use, or the rarest of it. Throws `request` where more would have to go
 * than can or a loader would refuse the result, `law` where what stays computes something else.
 */
export async function pruneTokens(
  model: CheckpointModel,
  { target, roundTo }: TokenPlan,
  { runtime, corpus, clock, loaders = [], ...job }: TokenPruneOptions,
): Promise<PrunedTokens> {
  const count = target === null ? null : countOf(model, target);
  const budget = { roundTo, ...(count === null ? {} : { count }) };
  const found = await clock.time("tokens", () => fitTokens(model, corpus, budget, job));
  const small = checkpointModel(found.checkpoint);
  const { kept } = found.fitted.chosen;
  const rows = model.outline.vocabulary;
  const bytesWent = kept.length < rows && isByteLevel(found.fitted.json);
  const [before, after] = [loadSizes(model), loadSizes(small, undefined, { bytesWent })];
  refuseUnloadable(willLoad(after, before, loaders), model.name);
  const law = await clock.time("check", () => checkTokens(model, small, kept, runtime));
  const left = new Set(kept);
  const gone = Array.from({ length: rows }, (_, row) => row).filter((row) => !left.has(row));
  return {
    checkpoint: found.checkpoint,
    tokenizer: found.fitted.tokenizer,
    parts: [{ name: tokenField, what: "tokens", before: rows, after: kept.length, gone, scores: [] }],
    law,
    loads: willLoad(after, before),
    advice: told(found),
  };
}

/** How many tokens stay. Throws `request` where none would. */
function countOf(model: CheckpointModel, target: NonNullable<TokenPlan["target"]>): number {
  const rows = model.outline.vocabulary;
  if (target.kind === "sparsity") return Math.ceil(rows * (1 - target.sparsity));
  const [whole, least] = [sizesOf(model), sizesOf({ checkpoint: sliceEntries(model, tokenField, [0]) })];
  const [all, one, most] =
    target.kind === "params"
      ? [whole.params, least.params, target.keep * whole.params]
      : [whole.bytes, least.bytes, target.max];
  const each = (all - one) / Math.max(1, rows - 1);
  const count = Math.min(rows, Math.floor((most - one) / each) + 1);
  if (count >= 1) return count;
  const flag = target.kind === "params" ? "--keep-params" : "--max-bytes";
  const message = `expected a target that is met by removing tokens, of which ${rows} take ${Math.round(each * rows)} of ${all}.`;
  throw new EspalierError("request", flag, message, "Remove other parts as well.");
}

/** What a user has to know of it. */
function told({ fitted, left, beyond }: FittedTokens): readonly string[] {
  const { chosen, before, after, recut, changed, repaired, apart } = fitted;
  const { kept, used, filled } = chosen;
  const covered = kept.reduce((sum, id) => sum + (before.counts[id] ?? 0), 0);
  const share = before.tokens === 0 ? 1 : covered / before.tokens;
  const more = 100 * (after.tokens / Math.max(1, before.tokens) - 1);
  const rest = kept.length - used - filled;
  const documents = `${before.documents} document${before.documents === 1 ? "" : "s"}`;
  return [
    `The corpus, ${documents} of ${before.bytes} bytes, uses ${used} of the ${kept.length} tokens that stay; ${rest} are special, single characters or bytes, named by configs, or formed on the way to others${filled === 0 ? "" : `, and ${filled} fill up to what was asked for`}.`,
    recut === 0
      ? `All ${before.tokens} tokens of the corpus are the same as before, which was verified on every document.`
      : `${(100 * share).toFixed(2)} % of the ${before.tokens} tokens of the corpus stayed; its text is ${after.tokens} tokens now (${more >= 0 ? "+" : ""}${more.toFixed(1)} %), and ${changed === 0 ? "every document reads as before" : `${changed} of ${documents} read otherwise`}.`,
    ...(repaired === 0 ? [] : [`${repaired} tokens stay since texts would be cut otherwise without them.`]),
    ...(apart.length === 0
      ? []
      : [
          `${apart.length} characters have no token of their own, so that other texts with them may have unknown words: ${apart.slice(0, 8).join(" ")}.`,
        ]),
    ...[...left].map(([file, because]) => `${file} is left out, since it says the tokens of the original. ${because}`),
    ...(beyond.length === 0
      ? []
      : [`No row of the embedding belongs to ${beyond.join(", ")}, which the original names already.`]),
  ];
}
