import { dirname, resolve } from "node:path";
import type { Dataset } from "../../data/dataset.ts";
import type { Documents } from "../../data/text/documents.ts";
import { saveCheckpoint } from "../../formats/checkpoint/save.node.ts";
import { refuseOccupied, syncFolder } from "../../formats/whole-files.node.ts";
import { type CheckpointModel, checkpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { tokenizerFilesOf } from "../../models/tokens/keep-tokens.ts";
import { phaseClock } from "../../pipeline/measuring/phase-clock.ts";
import type { TokenPlan } from "../../plans/tokens.ts";
import type { Metric } from "../../stats/answers/metric.ts";
import { EspalierError } from "../../tensor/error.ts";
import { step } from "../../tensor/progress.ts";
import { openTokenizer } from "../../tokenizers/open-tokenizer.ts";
import type { Tokenizer } from "../../tokenizers/tokenizer.ts";
import { checkpointLikelihood } from "../evaluate-checkpoint.ts";
import { hiddenInMemory } from "../memory/hidden-states.ts";
import { type CheckpointReport, sizesOf } from "../report.ts";
import { pruneTokens, type TokenPruneOptions } from "../tokens/prune-tokens.ts";
import { cardOfStages, type Making } from "./card.ts";
import { planText } from "./fingerprint.ts";

/** Text as it is written, which windows of ids cannot be had from once ids are others. */
export interface TokenTexts {
  /** In which tokens are counted. */
  readonly corpus: Documents | null;
  /** Text to evaluate on: its windows of the tokens that a tokenizer gives, and how many bytes it has. */
  readonly evaluation?: (tokenizer: Tokenizer) => Promise<EvaluatedText>;
}

interface EvaluatedText {
  readonly data: Dataset;
  readonly bytes: number;
}

export interface FolderTokenOptions extends Omit<TokenPruneOptions, "corpus" | "clock">, Making {
  readonly texts: TokenTexts | null;
  /** Windows that run at once. */
  readonly batchSize: number;
  readonly seed?: number;
  /** The original that the result is compared with, where the model was pruned before. */
  readonly original?: CheckpointModel;
}

/**
 * Removes tokens of a checkpoint into a folder, which appears under its name when it is complete. Where `out` is null, nothing
 * is written. Throws like `pruneTokens`, `data` without a corpus, and `file` where something is there already.
 */
export async function pruneFolderTokens(
  model: CheckpointModel,
  out: string | null,
  plan: TokenPlan,
  { texts, batchSize, seed = 0, original = model, ...options }: FolderTokenOptions,
): Promise<CheckpointReport> {
  const corpus = texts?.corpus ?? null;
  if (corpus === null) {
    const hint = "Give the text that the model is to read and say: --calib corpus.txt.";
    throw new EspalierError("data", "--granularity vocabulary", "expected a corpus, got none.", hint);
  }
  if (out !== null) await refuseOccupied(out);
  const { runtime } = options;
  const clock = phaseClock(options.signal);
  const pruned = await pruneTokens(model, plan, { ...options, corpus, clock });
  const evaluate = texts?.evaluation;
  const judged =
    evaluate === undefined
      ? null
      : await clock.time("evaluate", async () => {
          const small = checkpointModel(pruned.checkpoint);
          const of = async (one: CheckpointModel, tokenizer: Tokenizer) => {
            const { data, bytes } = await evaluate(tokenizer);
            return {
              ...(await checkpointLikelihood(one, data, { ...options, batchSize, hidden: hiddenInMemory() })),
              bytes,
            };
          };
          return compared(await of(original, await tokenizerOf(original)), await of(small, pruned.tokenizer));
        });
  const report: CheckpointReport = {
    ...{
      model: model.name,
      type: model.type,
      plan: planText(plan),
      inputs: null,
      calibration: corpus.description,
      seed,
    },
    device: { name: runtime.device, threads: runtime.threads, batch: batchSize },
    ...{ before: sizesOf(model), ...sizesOf(pruned), metric: judged?.metric ?? null },
    ...{ parts: pruned.parts, law: pruned.law, loads: pruned.loads },
    advice: [...pruned.advice, ...(judged === null ? [] : [judged.told])],
    ...{ pruned: { before: 0, after: 0 }, nonzero: sizesOf(pruned).params, layers: [], skipped: [] },
    ...{ resumed: 0, seconds: clock.seconds, memory: null, peakBytes: process.resourceUsage().maxRSS * 1024 },
  };
  if (out === null) return report;
  step(options, "write", 0, 1);
  const card = new Map([["README.md", cardOfStages(model, report, options)]]);
  await clock.time("write", () => saveCheckpoint(pruned.checkpoint, out, { texts: card }));
  await syncFolder(dirname(resolve(out)));
  return { ...report, seconds: clock.seconds };
}

async function tokenizerOf({ checkpoint, name }: CheckpointModel): Promise<Tokenizer> {
  const files = await tokenizerFilesOf(checkpoint);
  if (files !== null) return openTokenizer(files);
  throw new EspalierError("request", name, "expected a tokenizer.json, got none.");
}

interface Judged {
  readonly nll: number;
  readonly count: number;
  readonly bytes: number;
}

/** Tokens of both are others, so that bytes are what can be compared. */
function compared(before: Judged, after: Judged): { readonly metric: Metric; readonly told: string } {
  const bits = ({ nll, bytes }: Judged): number => nll / Math.LN2 / bytes;
  const perplexity = ({ nll, count }: Judged): string => `${Math.exp(nll / count).toPrecision(4)} (${count} tokens)`;
  return {
    metric: { name: "bits per byte", before: bits(before), after: bits(after), n: before.bytes },
    told: `Perplexity, of tokens that are not the same: ${perplexity(before)} before, ${perplexity(after)} after.`,
  };
}
