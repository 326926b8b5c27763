import { readOnnx } from "./formats/onnx/read.ts";
import { httpSource } from "./formats/source/http.ts";
import { blobSource, memorySource } from "./formats/source/source.ts";
import { withFixed } from "./models/fix.ts";
import { type Model, modelFrom } from "./models/model.ts";
import { layers, ranks, sparse, structured } from "./plans/methods.ts";
import { parts } from "./plans/parts.ts";

export { gradient } from "./autodiff/gradient.ts";
export { sized } from "./autodiff/sized.ts";
export { type Paper, reproductionOn } from "./claims/paper.ts";
export type { Findings, TrainedDraw } from "./claims/reproduction.ts";
export { type Branch, branchesOf } from "./coupling/branches.ts";
export { type Heads, headsOf } from "./coupling/heads.ts";
export { criteria, criterionNamed } from "./criteria/registry.ts";
export { magnitude } from "./criteria/weights/magnitude.ts";
export { random } from "./criteria/weights/random.ts";
export { bind } from "./data/bind.ts";
export { type JitterOptions, jitter } from "./data/changes/jitter.ts";
export { normalise } from "./data/changes/normalise.ts";
export type { Batch, Dataset, IndexedDataset } from "./data/dataset.ts";
export { readNpy } from "./data/files/npy.ts";
export { fromTensors } from "./data/from-tensors.ts";
export { balanced, type Ingredient, mixture } from "./data/mixture.ts";
export { randomInputs } from "./data/random-inputs.ts";
export { sample, take } from "./data/subset.ts";
export { type DialogueOptions, dialogues } from "./data/text/dialogues.ts";
export { type Documents, fieldOf, fromTexts, joinedDocuments, type Records } from "./data/text/documents.ts";
export { jsonLines } from "./data/text/json-lines.ts";
export { parquet } from "./data/text/parquet.ts";
export { plainText } from "./data/text/plain-text.ts";
export { type Question, readQuestions } from "./data/text/questions.ts";
export { tokenWindows, type WindowOptions } from "./data/text/token-windows.ts";
export { type Folder, memoryFolder } from "./formats/checkpoint/folder.ts";
export { type CardFacts, modelCard } from "./formats/checkpoint/model-card.ts";
export { type Checkpoint, openCheckpoint } from "./formats/checkpoint/open.ts";
export { blobSource, memorySource } from "./formats/source/source.ts";
export { type Algebra, algebra, type SizedGraph, type Value } from "./graph/algebra/algebra.ts";
export { type Analysis, type AnalysisOptions, analyse } from "./models/analysis.ts";
export { dropBlockBranches, type GoneBranches, silenceBlockBranches } from "./models/checkpoint/branches.ts";
export { keepBlocks, withGraph, withTensors } from "./models/checkpoint/change.ts";
export {
  type CheckpointModel,
  checkpointModel,
  type Stage,
  type WholeGraph,
} from "./models/checkpoint/checkpoint-model.ts";
export { keepEntries, keepExperts } from "./models/checkpoint/entries.ts";
export { inexpressible } from "./models/checkpoint/expressible.ts";
export type { Feeding } from "./models/checkpoint/frame.ts";
export { type Pooling, withPooling } from "./models/checkpoint/pooling.ts";
export { type Exported, exportCheckpoint, type WeightForm, weightForms } from "./models/export/export-checkpoint.ts";
export {
  type Continuation,
  type GenerateOptions,
  type Generation,
  generate,
  type Prompt,
} from "./models/generation/generate.ts";
export { refuseUncompiled } from "./models/loaders/compiles.ts";
export type { Breach, Loader, Rule, Severity } from "./models/loaders/loader.ts";
export { type LoadSizes, loadSizes } from "./models/loaders/sizes.ts";
export { type LoaderName, loaderNamed, loaderNames, loaders, refuseCheckpointLoaders } from "./models/loaders/table.ts";
export { loadableWidths } from "./models/loaders/widths.ts";
export { type Finding, type Load, nearestText, refuseUnloadable, willLoad } from "./models/loaders/will-load.ts";
export type { Model } from "./models/model.ts";
export { type FittedTokens, fitTokens } from "./models/tokens/fit-tokens.ts";
export { type KeptTokens, keepTokens } from "./models/tokens/keep-tokens.ts";
export { paperSection, papersWhere } from "./papers/catalogue.ts";
export { findingsSection, resultsPage } from "./papers/findings-text.ts";
export { paperNamed, papers } from "./papers/registry.ts";
export { reproduce } from "./papers/reproduce.ts";
export type { Report } from "./pipeline/measuring/report.ts";
export { type Pruned, type PruneOptions, prune } from "./pipeline/prune.ts";
export { type Learning, optimiserNames } from "./plans/learning.ts";
export { recoveries, recoveryNamed } from "./plans/methods.ts";
export { type PartOptions, type PartPlan, partCriteria } from "./plans/parts.ts";
export type { BranchPlan, Plan, RankPlan, UnitPlan, WeightPlan } from "./plans/plan.ts";
export { type Amount, type Contender, contender, planOf, type Settings, usualAmounts } from "./plans/settings.ts";
export { type BrowserOptions, openBrowserRuntime } from "./runtime/browser-runtime.ts";
export type { Device, Runtime } from "./runtime/runtime.ts";
export { schedules } from "./schedule/sparsity-schedule.ts";
export { branchCriteria } from "./search/choose-branches.ts";
export { type DynamicSparsity, dynamicSparsity, type SparsityProgramme } from "./sparsify/training/dynamic-sparsity.ts";
export * as programmes from "./sparsify/training/programmes.ts";
export { type SparselyTrained, type SparseTraining, trainSparse } from "./sparsify/training/train-sparse.ts";
export { type ContinuationScore, type Continued, scoreContinuations } from "./stats/answers/continuations.ts";
export type { CheckpointPruneOptions } from "./stream/courses.ts";
export { type PartPruneOptions, type PrunedParts, pruneParts } from "./stream/parts/prune-parts.ts";
export { type PrunedCheckpoint, pruneCheckpoint } from "./stream/prune-checkpoint.ts";
export type { CheckpointReport, CheckpointRun, PartsLeft } from "./stream/report.ts";
export { memoryWork, type Work } from "./stream/work.ts";
export { type AnswerOptions, type Answers, answerQuestions, type Score } from "./studies/answer-questions.ts";
export {
  amountText,
  baselines,
  type CompareReport,
  type CompareRow,
  compare,
} from "./studies/compare.ts";
export { type EvaluationReport, evaluate } from "./studies/evaluate.ts";
export { type Explanation, explain } from "./studies/explain.ts";
export type { Journal } from "./studies/journal.ts";
export { type SensitivityPoint, type SensitivityReport, sensitivity } from "./studies/sensitivity.ts";
export { didYouMean, type ErrorCode, EspalierError } from "./tensor/error.ts";
export type { Job, Step } from "./tensor/progress.ts";
export type { ByteSource, HostTensor, TensorRef } from "./tensor/tensor.ts";
export { type BytePairOptions, trainBytePairs } from "./tokenizers/byte-pairs.ts";
export type { ChatOptions, Conversation, Message } from "./tokenizers/chat.ts";
export { openTokenizer, type TokenizerFiles } from "./tokenizers/open-tokenizer.ts";
export type { ChosenTokens, TokenBudget } from "./tokenizers/smaller/choose-tokens.ts";
export type { FittedTokenizer } from "./tokenizers/smaller/fit-tokenizer.ts";
export type { Texts, TokenUsage } from "./tokenizers/smaller/usage.ts";
export { checkVocabulary, type SpecialIds, type Tokenizer } from "./tokenizers/tokenizer.ts";
export * as controllers from "./train/objectives/controllers.ts";
export * as losses from "./train/objectives/losses.ts";
export * as regularisers from "./train/objectives/regularisers.ts";
export type { Optimiser } from "./train/optimisers/optimiser.ts";
export { optimisers } from "./train/optimisers/registry.ts";
export {
  type InitialisationOptions,
  type InitialisationScheme,
  type Initialised,
  initialise,
} from "./train/parameters/initialise.ts";
export * as rates from "./train/rates.ts";
export { type Reparameterised, reparameterised, type Use } from "./train/reparameterisations/apply.ts";
export { reparameterisations } from "./train/reparameterisations/registry.ts";
export * as relaxations from "./train/reparameterisations/relaxations.ts";
export type { Reparameterisation, Site } from "./train/reparameterisations/reparameterisation.ts";
export {
  type LossContext,
  type ParameterGroup,
  type StepDefinition,
  type TrainStep,
  trainSteps,
} from "./train/step.ts";
export { type Trained, type TrainOptions, train } from "./train/train.ts";
export { openTrainer, type Snapshot, type Trainer, withState } from "./train/trainer.ts";

/** Ready compositions; each gives a plan for `prune`. */
export const methods = { structured, layers, ranks, sparse, parts };

export interface LoadOptions {
  /** Name for messages and reports. */
  readonly name?: string;
  /** Inputs that become constants, as text; an If that they decide is replaced by the branch it takes. */
  readonly fix?: ReadonlyMap<string, string>;
}

/** Reads an ONNX model from bytes, a Blob or an http(s) address. Weights stay where they are until they are needed. */
export async function loadFrom(
  from: Uint8Array | Blob | URL,
  { name, fix = new Map() }: LoadOptions = {},
): Promise<Model> {
  const source =
    from instanceof Uint8Array
      ? memorySource(name ?? "model.onnx", from)
      : from instanceof URL
        ? await httpSource(from.href)
        : blobSource(from, name ?? "model.onnx");
  return modelFrom(name ?? source.name, await withFixed(await readOnnx(source), fix));
}
