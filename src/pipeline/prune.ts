import type { Alike } from "../coupling/alike.ts";
import type { Coupling, Group } from "../coupling/couple.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { type Model, modelFrom, withGraph } from "../models/model.ts";
import type { Plan } from "../plans/plan.ts";
import type { Origin } from "../recovery/recovery.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { through } from "../surgery/kept.ts";
import { type Job, step } from "../tensor/progress.ts";
import { checkDevice } from "./measuring/check-device.ts";
import { lawFeeds } from "./measuring/law-feeds.ts";
import { measurePair } from "./measuring/measure.ts";
import { type PhaseClock, phaseClock } from "./measuring/phase-clock.ts";
import type { Report } from "./measuring/report.ts";
import { pruneBranches } from "./prune-branches.ts";
import { pruneRanks } from "./prune-ranks.ts";
import { pruneUnits } from "./prune-units.ts";
import { pruneWeights } from "./prune-weights.ts";
import { originOf } from "./recover.ts";
import { needsData } from "./statistics.ts";

/** Everything around a plan: where to run, which data, what to leave alone. */
export interface PruneOptions extends Job {
  readonly runtime: Runtime;
  /** Unlabelled inputs, bound to the model. */
  readonly calibration?: IndexedDataset | null;
  /** Inputs that stand for all that the model should not forget, for criteria that compare them with the calibration inputs. */
  readonly general?: IndexedDataset | null;
  /** Inputs that recoveries train on, with labels where they need them; the calibration inputs unless told. */
  readonly training?: IndexedDataset | null;
  /** Labelled inputs for the metric, bound to the model. */
  readonly evaluation?: IndexedDataset | null;
  /** Sizes of inputs that the file leaves open. */
  readonly shapes?: ReadonlyMap<string, readonly number[]> | undefined;
  /** Parameters, nodes or groups to leave alone: exact names, globs, or `re:` patterns. */
  readonly ignore?: readonly string[];
  /** Groups whose units have to stay, each with the reason: sizes that what reads the result cannot state. */
  /** The result gets no parameter that the original has not: recoveries go without biases that they would add. */
  readonly fixedParameters?: boolean;
  readonly withhold?: (coupling: Coupling) => ReadonlyMap<Group, string>;
  /** Groups that have to keep as many units as each other, and how many, so that what reads the result takes it. */
  readonly alike?: (coupling: Coupling) => readonly Alike[];
  /** Looks at what was chosen before anything is cut, and throws where that cannot be. */
  readonly beforeCut?: (coupling: Coupling, masks: ReadonlyMap<Group, Uint8Array>) => void;
  readonly seed?: number;
  /** Samples in a batch of calibration and of the latency measurement. */
  readonly batchSize?: number;
  readonly latencyBatch?: number;
  /** Name of the method and the command, for the report. */
  readonly method?: string;
  readonly command?: string;
  /**
   * Of a model that was pruned before, the `origin` of that pruning: least squares then aims at what the model first gave.
   */
  readonly origin?: Origin;
  /**
   * Where the result goes. It is written before it is measured, so that what is measured is what will be read and large
   * weights are mapped, and appears there when all is done.
   */
  readonly out?: string;
  /** Leave out the latency measurement. */
  readonly measure?: boolean;
  /** False leaves out the comparison of both models on the data. */
  readonly compare?: boolean;
}

/** The same with its defaults. */
export type SettledOptions = PruneOptions & { readonly seed: number; readonly batchSize: number };

export interface Pruned {
  readonly model: Model;
  readonly report: Report;
  /** By group, one byte for each unit: 1 was kept, 0 removed. Groups that lost nothing are absent. */
  readonly masks: ReadonlyMap<string, Uint8Array>;
  /** The first original, and which positions of its axes are left. */
  readonly origin: Origin;
}

/** What an engine hands back to `prune`. */
export type Engine<P extends Plan> = (
  analysis: Analysis,
  plan: P,
  options: SettledOptions,
  clock: PhaseClock,
) => Promise<
  Pick<Pruned, "masks"> & { readonly graph: Analysis["graph"]; readonly kept: Origin["kept"] } & Pick<
      Report,
      "layers" | "law" | "blocked" | "nearTies" | "training" | "advice"
    >
>;

/** What recoveries need is asked for before anything is done. */
async function checkRecoveries(plan: Plan, original: Analysis, options: PruneOptions): Promise<void> {
  const { runtime, calibration = null, fixedParameters = false } = options;
  const training = options.training ?? calibration;
  for (const recovery of plan.recovery) {
    if (recovery.needsData && training === null) throw needsData(recovery.id);
    await recovery.check?.({ runtime, original, training, fixedParameters });
  }
}

/** Carries out a plan, and before it the one that precedes it. */
async function carryOut(
  analysis: Analysis,
  plan: Plan,
  options: SettledOptions,
  clock: PhaseClock,
): ReturnType<Engine<Plan>> {
  const { before } = plan;
  if (before === undefined) return one(analysis, plan, options, clock);
  const first = await carryOut(analysis, before, options, clock);
  const left = await clock.time("analyse", () => analyse(first.graph, options.runtime, { shapes: options.shapes }));
  const origin = originOf({ original: analysis, kept: first.kept }, options.origin);
  const then = await one(left, ofOriginal(plan, analysis, left), { ...options, origin }, clock);
  return {
    ...then,
    kept: through(first.kept, then.kept),
    masks: new Map([...first.masks, ...then.masks]),
    law: worse(first.law, then.law),
    layers: [...first.layers, ...then.layers],
    nearTies: first.nearTies + then.nearTies,
    training: [...first.training, ...then.training],
    advice: [...first.advice, ...then.advice],
  };
}

/** The plan for what is left, with its target counted of the original. */
function ofOriginal(plan: Plan, original: Analysis, left: Analysis): Plan {
  if (plan.kind === "weights" || (plan.target.kind !== "macs" && plan.target.kind !== "params")) return plan;
  const { kind, keep } = plan.target;
  const target = { kind, keep: Math.min(1, (keep * original.cost.total()[kind]) / left.cost.total()[kind]) } as const;
  return { ...plan, target };
}

function worse(first: Report["law"], second: Report["law"]): Report["law"] {
  if (first === null || second === null) return first ?? second;
  return first.relative > second.relative ? first : second;
}

/** What each kind of plan does to the graph. */
function one(analysis: Analysis, plan: Plan, options: SettledOptions, clock: PhaseClock): ReturnType<Engine<Plan>> {
  switch (plan.kind) {
    case "units":
      return pruneUnits(analysis, plan, options, clock);
    case "branches":
      return pruneBranches(analysis, plan, options, clock);
    case "weights":
      return pruneWeights(analysis, plan, options, clock);
    case "ranks":
      return pruneRanks(analysis, plan, options, clock);
  }
}

/** Prunes a model by a plan, checks the result, measures both and says what it did. The given model is not changed. */
export async function prune(model: Model, plan: Plan, options: PruneOptions): Promise<Pruned> {
  const clock = phaseClock(options.signal);
  const settings: SettledOptions = { ...options, seed: options.seed ?? 0, batchSize: options.batchSize ?? 64 };
  step(options, "analyse", 0, 1);
  const analysis = await clock.time("analyse", () =>
    analyse(model.onnx.graph, options.runtime, { shapes: options.shapes }),
  );
  const device = await clock.time("compare devices", async () =>
    options.runtime.reference === undefined
      ? null
      : checkDevice(options.runtime, analysis, await lawFeeds(analysis, options.calibration ?? null, settings.seed)),
  );
  await clock.time("check", () => checkRecoveries(plan, analysis, settings));
  const { graph, kept, masks, ...found } = await carryOut(analysis, plan, settings, clock);
  const made = withGraph(model, graph);
  const { out } = options;
  const staged = out === undefined ? null : await clock.time("write", () => model.disk.stage(made.onnx, out));
  const small = staged === null ? made : modelFrom(model.name, staged.onnx, model.disk);
  let measured: Awaited<ReturnType<typeof measurePair>>;
  let result = small;
  try {
    step(options, "measure", 0, 1);
    measured = await clock.time("measure", () => measurePair(model, analysis, small, settings));
    step(options, "measure", 1, 1);
    options.signal?.throwIfAborted();
    if (staged !== null) result = modelFrom(model.name, await staged.commit(), model.disk);
  } catch (cause) {
    await staged?.discard();
    throw cause;
  }
  return {
    model: result,
    masks,
    origin: originOf({ original: analysis, kept }, options.origin),
    report: {
      model: model.name,
      method: options.method ?? plan.criterion.id,
      command: options.command ?? "",
      seed: settings.seed,
      versions: { [options.runtime.device]: options.runtime.version },
      ...measured,
      ...found,
      agreement: device,
      baselines: [],
      seconds: clock.seconds,
      advice: [...found.advice, ...measured.advice, ...options.runtime.notes],
    },
  };
}
