import { allocateUnits, unitAllocationDefaults } from "../allocation/units.ts";
import { sizesAt } from "../cost/sizes-at.ts";
import { type Group, unitCount } from "../coupling/couple.ts";
import type { Criterion, Statistic } from "../criteria/criterion.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import { unitMasks } from "../masks/units.ts";
import { analyse } from "../models/analysis.ts";
import type { Model } from "../models/model.ts";
import { freeGroups, scoreUnits } from "../pipeline/choosing/score-units.ts";
import type { Fidelity } from "../pipeline/measuring/report.ts";
import { matcher } from "../plans/ignore.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { fidelity } from "../stats/answers/fidelity.ts";
import { cut } from "../surgery/cut.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Job, step } from "../tensor/progress.ts";
import { type Journal, noJournal } from "./journal.ts";

export interface SensitivityOptions extends Job {
  readonly runtime: Runtime;
  readonly criterion: Criterion<Statistic>;
  readonly calibration: IndexedDataset;
  /** Fractions of the units of one group that are removed, each on its own. */
  readonly sparsities: readonly number[];
  readonly shapes?: ReadonlyMap<string, readonly number[]>;
  readonly ignore?: readonly string[];
  readonly batchSize?: number;
  readonly journal?: Journal<SensitivityPoint>;
}

/** One group pruned alone. */
export interface SensitivityPoint {
  readonly group: string;
  readonly units: number;
  readonly sparsity: number;
  readonly kept: number;
  /** Multiply-accumulates and parameters that remain of the whole model, as fractions. */
  readonly macs: number;
  readonly params: number;
  readonly fidelity: Fidelity;
}

export interface SensitivityReport {
  readonly model: string;
  readonly criterion: string;
  readonly data: string;
  readonly sparsities: readonly number[];
  readonly points: readonly SensitivityPoint[];
}

/** Prunes every group alone at every sparsity and measures how far the outputs move on the calibration inputs. */
export async function sensitivity(model: Model, options: SensitivityOptions): Promise<SensitivityReport> {
  const { runtime, criterion, calibration, sparsities, journal = noJournal() } = options;
  const settings = { ...options, batchSize: options.batchSize ?? 64 };
  step(options, "analyse", 0, 1);
  const analysis = await analyse(model.onnx.graph, runtime, { shapes: options.shapes });
  const groups = freeGroups(analysis, matcher(options.ignore ?? []));
  if (groups.length === 0) {
    throw new EspalierError(
      "request",
      "sensitivity",
      "expected at least one group of units that can be removed, got none.",
      "Run espalier inspect to see what blocks them.",
    );
  }
  const wanted = groups.flatMap((group) => sparsities.map((sparsity) => ({ group, sparsity })));
  const scores = wanted.every(({ group, sparsity }) => journal.get(keyOf(group, sparsity)) !== undefined)
    ? new Map<Group, Float64Array>()
    : await scoreUnits(analysis, groups, criterion, calibration, settings);
  const quiet = { batchSize: settings.batchSize, ...(options.signal === undefined ? {} : { signal: options.signal }) };
  const full = analysis.cost.total();
  const points: SensitivityPoint[] = [];
  for (const [i, { group, sparsity }] of wanted.entries()) {
    step(options, "sensitivity", i, wanted.length, group.id);
    const known = journal.get(keyOf(group, sparsity));
    if (known !== undefined) {
      points.push(known);
      continue;
    }
    const own = scores.get(group);
    if (own === undefined) continue;
    const alone = new Map([[group, own]]);
    const target = { kind: "sparsity" as const, sparsity };
    const counts = allocateUnits(alone, analysis.coupling, analysis.cost, target, unitAllocationDefaults);
    const small = await cut(analysis.graph, analysis.coupling, analysis.facts, unitMasks(alone, counts));
    const left = analysis.cost.total(sizesAt(analysis.coupling, counts));
    const point: SensitivityPoint = {
      group: group.id,
      units: unitCount(group),
      sparsity,
      kept: (counts.get(group) ?? group.size) * group.sets,
      macs: full.macs === 0 ? 1 : left.macs / full.macs,
      params: full.params === 0 ? 1 : left.params / full.params,
      fidelity: await fidelity(runtime, analysis.graph, small, calibration, quiet),
    };
    await journal.add(keyOf(group, sparsity), point);
    points.push(point);
  }
  step(options, "sensitivity", wanted.length, wanted.length);
  return { model: model.name, criterion: criterion.id, data: calibration.description, sparsities, points };
}

const keyOf = (group: Group, sparsity: number): string => `${group.id} ${sparsity}`;
