import { describe, expect, it } from "vitest";
import type { Matrix } from "../coupling/matrices.ts";
import { random as seeded } from "../tensor/random.ts";
import type { Criterion, MatrixStatistics, Side, Statistic, WeightView } from "./criterion.ts";
import { criteria } from "./registry.ts";

const rows = 6;
const features = 4;
const positions = 3;
const columns = features * positions;

const matrix: Matrix = {
  node: { name: "n", domain: "", op: "x", inputs: [], outputs: [], attributes: new Map() },
  parameter: "w",
  shape: [rows, features, positions],
  outputs: [0],
  inputs: [1, 2],
  rows,
  columns,
  groups: 1,
  data: { value: "x", axis: 1 },
};

function weights(seed: number): Float32Array {
  const values = new Float32Array(rows * columns);
  seeded(seed, "weights").fillNormal(values);
  return values;
}

function viewOf(values: Float32Array, firstRow = 0): WeightView {
  const { parameter, shape } = matrix;
  const size = values.length / columns;
  return {
    matrix,
    parameter,
    shape,
    rows: size,
    columns,
    positions,
    firstRow,
    totalRows: rows,
    role: null,
    values,
  };
}

function scaleOf(values: Float32Array): WeightView {
  const size = values.length;
  return {
    matrix: null,
    parameter: "gamma",
    shape: [size],
    rows: size,
    columns: 1,
    positions: 1,
    firstRow: 0,
    totalRows: size,
    role: "scale",
    values,
  };
}

function statisticsOf(seed: number): MatrixStatistics {
  const samples = 40;
  const x = new Float64Array(samples * columns);
  seeded(seed, "inputs").fillNormal(x);
  const gram = new Float64Array(columns * columns);
  for (let s = 0; s < samples; s++)
    for (let i = 0; i < columns; i++)
      for (let j = 0; j < columns; j++)
        gram[i * columns + j] =
          (gram[i * columns + j] ?? 0) + ((x[s * columns + i] ?? 0) * (x[s * columns + j] ?? 0)) / samples;
  const inputMeanSquare = Float64Array.from({ length: features }, (_, f) => {
    let sum = 0;
    for (let p = 0; p < positions; p++) sum += gram[(f * positions + p) * (columns + 1)] ?? 0;
    return sum / positions;
  });
  const perWeight = (label: string, positive: boolean): Float32Array => {
    const values = new Float32Array(rows * columns);
    seeded(seed, label).fillNormal(values);
    return positive ? values.map(Math.abs) : values;
  };
  return {
    inputMean: new Float64Array(features).fill(0.1),
    inputMeanSquare,
    gram: [gram],
    gradient: perWeight("gradient", false),
    gradientMagnitude: perWeight("gradientMagnitude", true),
    gradientSquare: perWeight("gradientSquare", true),
    hessianDiagonal: perWeight("hessianDiagonal", false),
    hessianGradient: perWeight("hessianGradient", false),
    pathImportance: perWeight("pathImportance", true),
    generalGram: [gram],
    generalGradient: perWeight("generalGradient", false),
    generalGradientSquare: perWeight("generalGradientSquare", true),
    synapticFlow: perWeight("synapticFlow", true),
  };
}

const statistics = statisticsOf(1);

/** A view of one side on which the criterion has something to say. */
function sideViews(criterion: Criterion<Statistic>): readonly { side: Side; view: WeightView; scores: Float64Array }[] {
  const gamma = Float32Array.from([0.5, -2, 1, 0.25, -0.1, 3]);
  const found: { side: Side; view: WeightView; scores: Float64Array }[] = [];
  for (const [side, view] of [
    ["output", viewOf(weights(2))],
    ["input", viewOf(weights(2))],
    ["other", scaleOf(gamma)],
  ] as const) {
    const scores = criterion.features(view, side, statistics);
    if (scores !== null) found.push({ side, view, scores });
  }
  return found;
}

/** The laws of every criterion; throws at the first that is broken. */
const laws = {
  shapes(criterion: Criterion<Statistic>): void {
    const sides = sideViews(criterion);
    expect(sides.length + (criterion.elements === null ? 0 : 1)).toBeGreaterThan(0);
    for (const { side, view, scores } of sides) expect(scores).toHaveLength(side === "input" ? features : view.rows);
    const elements = criterion.elements?.(viewOf(weights(2)), statistics);
    if (elements !== undefined) expect(elements).toHaveLength(rows * columns);
    for (const list of [...sides.map(({ scores }) => scores), elements ?? []])
      for (const score of list) expect(Number.isFinite(score)).toBe(true);
  },
  notNegative(criterion: Criterion<Statistic>): void {
    const elements = criterion.elements?.(viewOf(weights(2)), statistics);
    for (const list of [...sideViews(criterion).map(({ scores }) => scores), elements ?? []])
      for (const score of list) expect(score).toBeGreaterThanOrEqual(0);
  },
  deterministic(criterion: Criterion<Statistic>): void {
    const once = criterion.elements?.(viewOf(weights(3)), statistics);
    expect(criterion.elements?.(viewOf(weights(3)), statistics)).toEqual(once);
    expect(sideViews(criterion).map(({ scores }) => scores)).toEqual(sideViews(criterion).map(({ scores }) => scores));
  },
  leavesInputsAlone(criterion: Criterion<Statistic>): void {
    const values = weights(4);
    const own = statisticsOf(1);
    criterion.elements?.(viewOf(values), own);
    criterion.features(viewOf(values), "output", own);
    criterion.features(viewOf(values), "input", own);
    expect(values).toEqual(weights(4));
    expect(own).toEqual(statistics);
  },
  stretches(criterion: Criterion<Statistic>): void {
    const values = weights(5);
    const whole = criterion.elements?.(viewOf(values), statistics);
    expect(criterion.whole ?? false).toBe(false);
    expect(whole === undefined).toBe(criterion.elements === null);
    if (whole === undefined) return;
    const parts = [0, 2, 5].map((from, i) => {
      const to = [2, 5, rows][i] ?? rows;
      const part = viewOf(values.slice(from * columns, to * columns), from);
      return [...(criterion.elements?.(part, statistics) ?? [])];
    });
    expect(parts.flat()).toEqual([...whole]);
  },
  rowsPermute(criterion: Criterion<Statistic>): void {
    const order = [3, 0, 5, 1, 4, 2];
    const values = weights(6);
    const moved = new Float32Array(values.length);
    for (const [to, from] of order.entries())
      moved.set(values.subarray(from * columns, (from + 1) * columns), to * columns);
    const before = criterion.elements?.(viewOf(values), statistics);
    const after = criterion.elements?.(viewOf(moved), statistics);
    if (before !== undefined && after !== undefined)
      for (const [to, from] of order.entries())
        expect(after.slice(to * columns, (to + 1) * columns)).toEqual(
          before.slice(from * columns, (from + 1) * columns),
        );
    const rowsBefore = criterion.features(viewOf(values), "output", statistics);
    const rowsAfter = criterion.features(viewOf(moved), "output", statistics);
    expect(rowsAfter === null).toBe(rowsBefore === null);
    for (const [to, from] of order.entries()) {
      if (rowsAfter !== null && rowsBefore !== null) expect(rowsAfter[to]).toBeCloseTo(rowsBefore[from] ?? 0, 9);
    }
  },
  scaleKeepsOrder(criterion: Criterion<Statistic>): void {
    const values = weights(7);
    const scaled = values.map((v) => v * 4);
    const orderOf = (list: Float64Array | null | undefined) =>
      list === null || list === undefined ? [] : [...list.keys()].sort((a, b) => (list[a] ?? 0) - (list[b] ?? 0));
    expect(orderOf(criterion.elements?.(viewOf(scaled), statistics))).toEqual(
      orderOf(criterion.elements?.(viewOf(values), statistics)),
    );
    for (const side of ["output", "input"] as const)
      expect(orderOf(criterion.features(viewOf(scaled), side, statistics))).toEqual(
        orderOf(criterion.features(viewOf(values), side, statistics)),
      );
  },
  /** What is ten times larger is kept rather: weights, or the scale of a norm. */
  largerKeeps(criterion: Criterion<Statistic>): void {
    const values = weights(8);
    const grown = values.slice();
    for (let c = 0; c < columns; c++) grown[2 * columns + c] = 10 * (grown[2 * columns + c] ?? 0);
    const before = criterion.features(viewOf(values), "output", statistics);
    const after = criterion.features(viewOf(grown), "output", statistics);
    if (before !== null && after !== null) expect(after[2]).toBeGreaterThan(before[2] ?? 0);
    // A criterion of inputs alone sees all of them grow a little.
    if (before === null) {
      const [inputs, grownInputs] = [values, grown].map((v) => criterion.features(viewOf(v), "input", statistics));
      for (const [f, score] of (inputs ?? []).entries()) expect(grownInputs?.[f]).toBeGreaterThanOrEqual(score);
    }
    const elements = criterion.elements?.(viewOf(values), statistics);
    const grownElements = criterion.elements?.(viewOf(grown), statistics);
    if (elements !== undefined && grownElements !== undefined)
      expect(grownElements[2 * columns]).toBeGreaterThanOrEqual(elements[2 * columns] ?? 0);
    const gamma = criterion.features(scaleOf(Float32Array.from([1, -3, 2])), "other", statistics);
    const more = criterion.features(scaleOf(Float32Array.from([10, -30, 20])), "other", statistics);
    const total = (list: Float64Array | null) => list?.reduce((sum, score) => sum + score, 0) ?? 0;
    if (gamma !== null) expect(total(more)).toBeGreaterThan(total(gamma));
  },
};

const placed = { rowsPermute: "what is measured of a weight belongs to its place" };
const signed = {
  notNegative: "its sign says whether the loss grows",
  largerKeeps: "a larger weight may be worth less",
};

/** Laws that do not hold for a criterion, and why. */
const exempt: Readonly<Record<string, Readonly<Partial<Record<keyof typeof laws, string>>>>> = {
  taylor: placed,
  "taylor-signed": { ...placed, ...signed },
  "taylor-sample": placed,
  snip: placed,
  grasp: { ...placed, ...signed },
  crop: placed,
  gblm: placed,
  fisher: placed,
  hessian: placed,
  synflow: { ...placed, largerKeeps: "the flow is measured with the weights" },
  alignment: {
    ...placed,
    ...signed,
    stretches: "it asks for the whole parameter",
    scaleKeepsOrder: "one of its terms goes with the root of a weight",
  },
  obs: { stretches: "it asks for the whole parameter" },
  random: { rowsPermute: "noise belongs to a place", largerKeeps: "noise does not look at weights" },
};

for (const [name, entry] of criteria) {
  describe(name, () => {
    const criterion = entry.make({ seed: 7 });
    for (const [law, check] of Object.entries(laws)) {
      const reason = law in (exempt[name] ?? {});
      it.skipIf(reason)(law, () => {
        expect.hasAssertions();
        check(criterion);
      });
    }

    it("says what it is", () => {
      expect(criterion.id).toBe(name);
      expect(entry.scores).toBe(
        criterion.elements === null ? "units" : sideViews(criterion).length > 0 ? "both" : "weights",
      );
      expect(entry.summary).toMatch(/\.$/);
    });
  });
}

describe("the suite catches", () => {
  const base = criteria.get("l1")?.make({ seed: 0 });
  if (base?.elements === undefined || base.elements === null) throw new Error("l1 scores weights");
  const { elements } = base;
  const spoilt = (spoil: (scores: Float64Array, view: WeightView) => Float64Array): Criterion<Statistic> => ({
    ...base,
    elements: (view, values) => spoil(elements(view, values), view),
  });

  it("a score that falls with magnitude", () => {
    expect(() => laws.largerKeeps(spoilt((scores) => scores.map((s) => 1 / (1 + s))))).toThrow();
  });
  it("a score of the wrong length", () => {
    expect(() => laws.shapes(spoilt((scores) => scores.slice(1)))).toThrow();
  });
  it("a score that is no number", () => {
    expect(() => laws.shapes(spoilt((scores) => scores.map(() => Number.NaN)))).toThrow();
  });
  it("a score that remembers", () => {
    let calls = 0;
    expect(() => laws.deterministic(spoilt((scores) => scores.map((s) => s + calls++)))).toThrow();
  });
  it("a score that changes the weights", () => {
    expect(() =>
      laws.leavesInputsAlone(spoilt((scores, { values }) => scores.map((s) => s + values.fill(0).length))),
    ).toThrow();
  });
  it("a score that depends on the stretch", () => {
    expect(() => laws.stretches(spoilt((scores) => scores.map((s, i) => s + i)))).toThrow();
  });
  it("a score that depends on the row", () => {
    expect(() => laws.rowsPermute(spoilt((scores) => scores.map((s, i) => s + i)))).toThrow();
  });
  it("a score that depends on the unit of measurement", () => {
    expect(() => laws.scaleKeepsOrder(spoilt((scores) => scores.map((s) => Math.sin(s))))).toThrow();
  });
});
