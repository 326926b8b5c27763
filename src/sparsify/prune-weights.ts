import { erk, lampAscending } from "../allocation/densities.ts";
import type { Matrix } from "../coupling/matrices.ts";
import { type Criterion, isMissing, type MatrixStatistics, type Statistic } from "../criteria/criterion.ts";
import { eachStretch, type Layout, layoutOf, stretchesOf, stretchView, zeroStretch } from "../criteria/stretches.ts";
import type { StatisticsOf } from "../criteria/unit-scores.ts";
import type { Graph } from "../graph/graph.ts";
import { type Cut, CutMask } from "../masks/cut.ts";
import {
  cellScores,
  cellsOf,
  checkPattern,
  keptByPattern,
  misfit,
  type Pattern,
  patternMask,
  weightMask,
} from "../masks/pattern.ts";
import { type ColumnScores, longestRow, type RowRule, zeroInRows } from "../masks/zero-rows.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Job, step } from "../tensor/progress.ts";
import { countOf, smallestPerRow, ThresholdFinder } from "../tensor/selection/select.ts";
import { storedElements } from "../tensor/stored-elements.ts";
import { bytesOf, type HostTensor, loadOwn, type TensorRef } from "../tensor/tensor.ts";

/** Which weights go. Shares name what goes. */
export interface WeightSelection {
  readonly pattern: Pattern;
  /** The set inside which weights compete. An N:M pattern competes inside its M neighbours whatever this says. */
  readonly scope: "row" | "tensor" | "global";
  /** How much each parameter loses when the scope is smaller than the model. */
  readonly profile: "uniform" | "erk" | "lamp";
  readonly sparsity: number;
  /** Share of all weights that each parameter keeps at least under a global scope (Global MP's minimum threshold). */
  readonly floor?: number;
  /** Sparsity of single parameters, by name, which the profile then does not decide. Not for a global scope. */
  readonly table?: ReadonlyMap<string, number>;
  /** What is zero already goes before everything else, whatever its score, as the rounds of a pruning need it. */
  readonly zerosFirst?: boolean;
}

export interface WeightLayer {
  readonly name: string;
  readonly before: number;
  /** Weights that the mask keeps. */
  readonly after: number;
}

export interface SparseGraph {
  readonly graph: Graph;
  readonly layers: readonly WeightLayer[];
  /** Parameters that were left as they are, and why. */
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}

export interface WeightOptions extends Job {
  /** Up to this many bytes of pruned weights are held in memory; more are made anew each time they are read. */
  readonly residentBytes?: number;
}

/** Scores that are kept between passes over the model, at most. */
const cachedScores = 1 << 24;

/** One parameter on its way: where it is, how it lies, and how its weights are scored. */
interface Target {
  readonly name: string;
  readonly ref: TensorRef;
  readonly layout: Layout;
  readonly cells: number;
  readonly cellRows: number;
  /** Rows of a stretch are a multiple of this. */
  readonly multiple: number;
  readonly score: (view: ReturnType<typeof stretchView>) => Float64Array;
  /** The same scores by columns, where they come apart so and rows lie one behind the other. */
  readonly columnScores: () => ColumnScores | null;
}

/** How the mask of one parameter follows from its scores. */
type Rule =
  | { readonly kind: "pattern"; readonly pattern: Extract<Pattern, { kind: "n:m" }> }
  | { readonly kind: "rows"; readonly removed: number }
  | { readonly kind: "count"; readonly removed: number }
  | { readonly kind: "cut"; readonly cut: Cut; readonly removed: number };

/**
 * Sets weights to exact zeros: scores and masks one parameter at a time, exact counts by rank, of equal scores those with
 * the lower index go first (rows of the matrix first, then columns). Throws `request` for a criterion that does not score
 * weights and for shares that cannot be met.
 */
export async function pruneWeights<N extends Statistic>(
  graph: Graph,
  matrices: readonly Matrix[],
  criterion: Criterion<N>,
  selection: WeightSelection,
  statistics: StatisticsOf<N>,
  options: WeightOptions = {},
): Promise<SparseGraph> {
  const { pattern } = selection;
  checkSelection(criterion, selection);
  const skipped: { name: string; reason: string }[] = [];
  const targets = targetsOf(graph, matrices, criterion, selection, statistics, skipped);
  const rules = await rulesOf(targets, selection, options);
  const total = targets.reduce((sum, { ref }) => sum + bytesOf(ref), 0);
  const resident = total <= (options.residentBytes ?? 256 * 2 ** 20);
  const constants = new Map(graph.constants);
  const layers: WeightLayer[] = [];
  for (const [i, target] of targets.entries()) {
    const { name, ref } = target;
    step(options, "mask", i, targets.length, name);
    const rule = rules.get(target);
    if (rule === undefined) continue;
    const by = maskMaker(target, pattern, rule);
    const made: TensorRef = { ...plain(ref), made: { from: ref, by: async () => (await by()).bytes } };
    const before = target.layout.rows * target.layout.columns;
    if (resident) {
      const { bytes, kept } = await by();
      constants.set(name, { ...plain(ref), resident: bytes });
      layers.push({ name, before, after: kept });
    } else {
      constants.set(name, made);
      layers.push({ name, before, after: await keptBy(target, pattern, rule, by) });
    }
  }
  step(options, "mask", targets.length, targets.length);
  return { graph: { ...graph, constants }, layers, skipped };
}

function plain({ dtype, shape, unknown }: TensorRef): TensorRef {
  return unknown === undefined ? { dtype, shape } : { dtype, shape, unknown };
}

function checkSelection(criterion: Criterion<Statistic>, selection: WeightSelection): void {
  const { pattern, sparsity, floor = 0, scope, profile } = selection;
  checkPattern(pattern);
  if (criterion.elements === null) {
    const hint = "Use l1, l2, wanda or another that scores weights.";
    throw new EspalierError("request", criterion.id, "expected a criterion of single weights, got one of units.", hint);
  }
  for (const share of [sparsity, floor, ...(selection.table?.values() ?? [])]) {
    if (share >= 0 && share <= 1) continue;
    throw new EspalierError("request", "--sparsity", `expected fractions from 0 to 1, got ${share}.`);
  }
  if (scope === "row" && profile === "lamp") {
    throw new EspalierError(
      "request",
      "--scope row",
      "expected a uniform or ERK profile, got lamp.",
      "Use --scope tensor.",
    );
  }
}

function targetsOf<N extends Statistic>(
  graph: Graph,
  matrices: readonly Matrix[],
  criterion: Criterion<N>,
  { pattern, zerosFirst = false }: WeightSelection,
  statistics: StatisticsOf<N>,
  skipped: { name: string; reason: string }[],
): readonly Target[] {
  const targets: Target[] = [];
  const seen = new Set<string>();
  for (const matrix of matrices) {
    const { parameter: name } = matrix;
    const ref = graph.constants.get(name);
    if (ref === undefined || seen.has(name)) continue;
    seen.add(name);
    const layout = layoutOf(matrix);
    const values = statistics(matrix, name);
    const reason = !isFloat(ref.dtype)
      ? `its weights are ${ref.dtype}; prune before quantising`
      : (misfit(pattern, layout) ??
        (values === undefined || isMissing(criterion, values) ? "calibration measured nothing for it" : null));
    const { elements } = criterion;
    if (reason !== null || values === undefined || elements === null) {
      skipped.push({ name, reason: reason ?? "not scored" });
      continue;
    }
    const [cellRows, cellColumns] = cellsOf(pattern, layout);
    const score: Target["score"] = (view) => {
      const scores = cellScores(pattern, view, elements(view, values));
      return zerosFirst ? belowAll(scores, cellScores(pattern, view, alive(view.values))) : scores;
    };
    const multiple = criterion.whole === true ? Number.POSITIVE_INFINITY : pattern.kind === "block" ? pattern.rows : 1;
    const columnScores = () =>
      zerosFirst || pattern.kind === "block" ? null : columnScoresOf(criterion, values, layout);
    targets.push({ name, ref, layout, cells: cellRows * cellColumns, cellRows, multiple, score, columnScores });
  }
  return targets;
}

/** Scores by columns, where a criterion has them for weights that lie as it sees them. */
function columnScoresOf<N extends Statistic>(
  { factors }: Criterion<N>,
  values: Pick<MatrixStatistics, N>,
  { matrix, columns: length, positions, at }: Layout,
): ColumnScores | null {
  if (factors === undefined || at !== null || (factors.power !== 1 && factors.power !== 2)) return null;
  if (length > longestRow) return null;
  const columns = factors.columns({ matrix, columns: length, positions, parameter: matrix.parameter }, values);
  return columns?.every((scale) => scale >= 0) === true ? { power: factors.power, columns } : null;
}

/** 1 where a weight is not zero. */
function alive(weights: Float32Array): Float64Array {
  const out = new Float64Array(weights.length);
  for (let i = 0; i < out.length; i++) out[i] = +(weights[i] !== 0);
  return out;
}

/** The scores, with those of cells in which nothing lives below all others. */
function belowAll(scores: Float64Array, living: Float64Array): Float64Array {
  const out = new Float64Array(scores.length);
  for (let i = 0; i < out.length; i++) out[i] = living[i] === 0 ? Number.NEGATIVE_INFINITY : (scores[i] ?? 0);
  return out;
}

async function rulesOf(targets: readonly Target[], selection: WeightSelection, job: Job) {
  const { pattern, sparsity, profile, scope, table } = selection;
  if (pattern.kind === "n:m")
    return new Map(targets.map((target): [Target, Rule] => [target, { kind: "pattern", pattern }]));
  if (scope === "global") return globalRules(targets, selection, job);
  const free = targets.filter(({ name }) => !table?.has(name));
  const rules = profile === "lamp" ? await lampRules(free, selection, job) : new Map<Target, Rule>();
  const shapes = free.map(({ name, layout }) => ({ name, shape: layout.matrix.shape }));
  const densities = profile === "erk" ? erk(shapes, 1 - sparsity) : [];
  for (const target of targets) {
    if (rules.has(target)) continue;
    const given = table?.get(target.name);
    const at = free.indexOf(target);
    const share = given ?? (profile === "erk" ? 1 - (densities[at] ?? 1) : sparsity);
    const { cells, cellRows } = target;
    rules.set(
      target,
      scope === "row"
        ? { kind: "rows", removed: countOf(share, cellRows === 0 ? 0 : cells / cellRows) }
        : { kind: "count", removed: countOf(share, cells) },
    );
  }
  return rules;
}

/** Reads the scores of all targets in order, once per call of what it gives; small models are scored once. */
function reader(targets: readonly Target[]) {
  const total = targets.reduce((sum, { cells }) => sum + cells, 0);
  const cache = new Map<Target, readonly Float64Array[]>();
  return async (target: Target, visit: (scores: Float64Array) => void): Promise<void> => {
    const known = cache.get(target);
    if (known !== undefined) {
      for (const scores of known) visit(scores);
      return;
    }
    const parts: Float64Array[] = [];
    await eachStretch(target.ref, target.layout, target.multiple, (view) => {
      const scores = target.score(view);
      if (total <= cachedScores) parts.push(scores);
      visit(scores);
    });
    if (total <= cachedScores) cache.set(target, parts);
  };
}

/** One threshold for all parameters; what a floor protects does not compete. */
async function globalRules(targets: readonly Target[], selection: WeightSelection, job: Job) {
  const { sparsity, floor = 0 } = selection;
  const read = reader(targets);
  const total = targets.reduce((sum, { cells }) => sum + cells, 0);
  const least = Math.floor(floor * total * (1 + 1e-12));
  const wanted = countOf(sparsity, total);
  const open = targets.reduce((sum, { cells }) => sum + Math.max(0, cells - least), 0);
  if (wanted > open) {
    const most = total === 0 ? 0 : open / total;
    throw new EspalierError(
      "request",
      "--sparsity",
      `expected a sparsity that leaves ${least} weights in each parameter, got ${sparsity}.`,
      `With this floor at most ${most.toFixed(4)} is possible.`,
    );
  }
  const candidates = new Map<Target, Cut>();
  if (least > 0) {
    for (const target of targets) {
      const cut = await cutOf(Math.max(0, target.cells - least), (visit) => read(target, visit));
      candidates.set(target, cut);
    }
  }
  /** Scores with what is protected out of reach. */
  const competing = async (target: Target, visit: (scores: Float64Array) => void): Promise<void> => {
    const cut = candidates.get(target);
    if (cut === undefined) return read(target, visit);
    const mask = new CutMask(cut);
    await read(target, (scores) => {
      const kept = mask.next(scores);
      const open = scores.slice();
      for (let i = 0; i < open.length; i++) if (kept[i] === 1) open[i] = Number.POSITIVE_INFINITY;
      visit(open);
    });
  };
  let done = 0;
  const finder = await finderOver(wanted, async (visit) => {
    for (const target of targets) {
      step(job, "rank", done++, targets.length * 5, target.name);
      await competing(target, visit);
    }
  });
  const rules = new Map<Target, Rule>();
  const { threshold } = finder;
  for (const target of targets) {
    step(job, "rank", done++, targets.length * 5, target.name);
    const before = finder.ties;
    let removed = 0;
    await competing(target, (scores) => {
      const mask = finder.mark(scores);
      for (let i = 0; i < mask.length; i++) removed += mask[i] ?? 0;
    });
    // With a floor the first of equal scores may be protected, so the parameter ranks its own.
    const cut: Rule = { kind: "cut", removed, cut: { threshold, ties: before - finder.ties } };
    rules.set(target, candidates.size > 0 ? { kind: "count", removed } : cut);
  }
  return rules;
}

/** How much each parameter loses when LAMP scores of all compete. */
async function lampRules(targets: readonly Target[], { sparsity }: WeightSelection, job: Job) {
  const read = reader(targets);
  const total = targets.reduce((sum, { cells }) => sum + cells, 0);
  const cache = new Map<Target, Float64Array>();
  let done = 0;
  const lamp = async (target: Target): Promise<Float64Array> => {
    step(job, "rank", done++, targets.length * 5, target.name);
    const known = cache.get(target);
    if (known !== undefined) return known;
    const scores = new Float64Array(target.cells);
    let at = 0;
    await read(target, (part) => {
      scores.set(part, at);
      at += part.length;
    });
    // What goes before everything else has no part in the sums.
    for (let i = 0; i < scores.length; i++) if (scores[i] === Number.NEGATIVE_INFINITY) scores[i] = 0;
    lampAscending(scores.sort());
    if (total <= cachedScores) cache.set(target, scores);
    return scores;
  };
  const finder = await finderOver(countOf(sparsity, total), async (visit) => {
    for (const target of targets) visit(await lamp(target));
  });
  const rules = new Map<Target, Rule>();
  for (const target of targets) {
    const mask = finder.mark(await lamp(target));
    let removed = 0;
    for (let i = 0; i < mask.length; i++) removed += mask[i] ?? 0;
    rules.set(target, { kind: "count", removed });
  }
  return rules;
}

type Feed = (visit: (scores: Float64Array) => void) => Promise<void>;

/** Scores that are float32 numbers, as magnitudes of float32 weights are, are ranked in half the passes. */
async function finderOver(removed: number, feed: Feed): Promise<ThresholdFinder> {
  let narrow: boolean | undefined;
  let mixed = false;
  const short = new ThresholdFinder(removed, "f32");
  const long = new ThresholdFinder(removed, "f64");
  await feed((scores) => {
    const rounded = narrow === false ? undefined : narrowed(scores);
    narrow ??= rounded !== undefined;
    if (!narrow) long.add(scores);
    else if (rounded === undefined) mixed = true;
    else if (!mixed) short.add(rounded);
  });
  if (narrow === true && !mixed) {
    short.nextPass();
    await feed((scores) => short.add(new Float32Array(scores)));
    short.nextPass();
    return short;
  }
  if (mixed) await feed((scores) => long.add(scores));
  for (let pass = 0; pass < long.passes; pass++) {
    if (pass > 0) await feed((scores) => long.add(scores));
    long.nextPass();
  }
  return long;
}

/** The scores as float32 where that changes none of them. */
function narrowed(scores: Float64Array): Float32Array | undefined {
  const out = new Float32Array(scores);
  let changed = 0;
  for (let i = 0; i < out.length; i++) changed += +(out[i] !== scores[i]);
  return changed === 0 ? out : undefined;
}

async function cutOf(removed: number, feed: Feed): Promise<Cut> {
  const { threshold, ties } = await finderOver(removed, feed);
  return { threshold, ties };
}

/** The cut that removes the `removed` smallest cells of a parameter in memory, and its scores where they are few. */
function cutHere(target: Target, host: HostTensor, removed: number) {
  const finder = new ThresholdFinder(removed, "f64");
  const stretches = stretchesOf(target.layout, target.multiple);
  const scoresOf = (from: number, rows: number) => target.score(stretchView(target.layout, host, from, rows));
  const held = target.cells <= 2 * cachedScores ? stretches.map(([from, rows]) => scoresOf(from, rows)) : [];
  for (let pass = 0; pass < finder.passes; pass++) {
    for (const [i, [from, rows]] of stretches.entries()) finder.add(held[i] ?? scoresOf(from, rows));
    finder.nextPass();
  }
  return { cut: { threshold: finder.threshold, ties: finder.ties }, held };
}

/** Gives the masked bytes of a parameter; a cut that it had to look for is remembered. */
function maskMaker(target: Target, pattern: Pattern, rule: Rule) {
  const { layout, multiple } = target;
  const inRows = rowRuleOf(rule, layout);
  let cut: Cut | undefined = rule.kind === "cut" ? rule.cut : undefined;
  return async (): Promise<{ readonly bytes: Uint8Array; readonly kept: number }> => {
    const host = await loadOwn(target.ref);
    const scored = inRows === null ? null : target.columnScores();
    if (inRows !== null && scored !== null) {
      const { rows, columns } = layout;
      zeroInRows(host, rows, scored, inRows);
      const kept = "removed" in inRows ? columns - inRows.removed : (columns / inRows.of) * inRows.keep;
      return { bytes: host.bytes, kept: rows * kept };
    }
    let held: readonly Float64Array[] = [];
    if (rule.kind === "count" && cut === undefined) ({ cut, held } = cutHere(target, host, rule.removed));
    const cutMask = new CutMask(cut ?? { threshold: Number.NaN, ties: 0 });
    const elements = storedElements(host);
    let kept = 0;
    for (const [i, [from, rows]] of stretchesOf(layout, multiple).entries()) {
      const view = stretchView(layout, host, from, rows);
      const cells = cellMask(rule, cutMask, pattern, view, held[i] ?? target.score(view));
      const keep = weightMask(pattern, view, cells);
      for (let j = 0; j < keep.length; j++) kept += keep[j] ?? 0;
      zeroStretch(layout, elements, from, rows, keep);
    }
    return { bytes: host.bytes, kept };
  };
}

/** What goes from each row, where a rule is one of rows and neighbours lie beside each other. */
function rowRuleOf(rule: Rule, { columns, positions }: Layout): RowRule | null {
  if (rule.kind === "rows") return { removed: Math.min(columns, rule.removed) };
  if (rule.kind !== "pattern" || (positions > 1 && rule.pattern.order !== "im2col")) return null;
  return columns % rule.pattern.of === 0 ? { keep: rule.pattern.keep, of: rule.pattern.of } : null;
}

function cellMask(
  rule: Rule,
  cut: CutMask,
  pattern: Pattern,
  view: ReturnType<typeof stretchView>,
  scores: Float64Array,
): Uint8Array {
  if (rule.kind === "pattern") return patternMask(rule.pattern, view, scores);
  if (rule.kind !== "rows") return cut.next(scores);
  const [rows, columns] = cellsOf(pattern, view);
  const mask = smallestPerRow(scores, rows, columns, rule.removed);
  for (let i = 0; i < mask.length; i++) mask[i] = 1 - (mask[i] ?? 0);
  return mask;
}

/** Weights that a parameter keeps, without its masked bytes where the count follows from the rule. */
async function keptBy(
  { layout, cellRows }: Target,
  pattern: Pattern,
  rule: Rule,
  by: ReturnType<typeof maskMaker>,
): Promise<number> {
  const size = layout.rows * layout.columns;
  if (rule.kind === "pattern") return keptByPattern(rule.pattern, layout);
  if (pattern.kind === "element" && rule.kind === "rows") return size - rule.removed * cellRows;
  if (pattern.kind === "element" && rule.kind !== "rows") return size - rule.removed;
  return (await by()).kept;
}

/** Statistics for criteria that look at weights alone. */
export const noStatistics: StatisticsOf<never> = () => none;
const none: Pick<MatrixStatistics, never> = {};
