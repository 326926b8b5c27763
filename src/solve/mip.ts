import highsModule from "highs";
import { EspalierError } from "../tensor/error.ts";

/** The package's types describe its CommonJS build, whose loader lies one level deeper than that of the ES module. */
const loadHighs = typeof highsModule === "function" ? highsModule : highsModule.default;

/** low <= Σ coefficient · x[variable] <= high. A missing bound is infinite. */
export interface Row {
  /** Pairs of variable and coefficient; a variable at most once. */
  readonly terms: readonly (readonly [variable: number, coefficient: number])[];
  readonly low?: number;
  readonly high?: number;
}

/** Minimise Σ cost · x subject to rows and bounds. */
export interface LinearProgram {
  readonly costs: ArrayLike<number>;
  readonly rows: readonly Row[];
  /** Bounds of each variable; default 0 to 1. */
  readonly lower?: ArrayLike<number>;
  readonly upper?: ArrayLike<number>;
  /** Which variables are whole numbers; default all. */
  readonly integer?: ArrayLike<boolean>;
}

export interface Solution {
  /** "limit": time ran out; x is the best found so far, empty where there is none. */
  readonly status: "optimal" | "infeasible" | "unbounded" | "limit";
  /** Whole numbers are exactly whole. Empty unless optimal or limit. */
  readonly x: Float64Array;
  /** NaN where there is no x. */
  readonly value: number;
}

/**
 * Solves a linear or mixed-integer program with HiGHS, which blocks the thread while it works. `wasmUrl` says where
 * highs.wasm lies in a bundled page. Throws `data` for costs, bounds or terms that are no program.
 */
export async function minimise(
  program: LinearProgram,
  { seconds = 60, wasmUrl }: { readonly seconds?: number; readonly wasmUrl?: string } = {},
): Promise<Solution> {
  const n = program.costs.length;
  const costs = Array.from(program.costs);
  const lower = Array.from({ length: n }, (_, i) => program.lower?.[i] ?? 0);
  const upper = Array.from({ length: n }, (_, i) => program.upper?.[i] ?? 1);
  const integer = Array.from({ length: n }, (_, i) => program.integer?.[i] ?? true);
  checkProgram(program, costs, lower, upper);
  if (n === 0) return trivial(program);

  const highs = await loadHighs(wasmUrl === undefined ? {} : { locateFile: () => wasmUrl });
  const { variableType, modelStatus } = highs.constants;
  const starts = [0];
  for (const { terms } of program.rows) starts.push((starts.at(-1) ?? 0) + terms.length);
  const terms = program.rows.flatMap((row) => row.terms);
  const model = highs.createModel({
    numCols: n,
    numRows: program.rows.length,
    colCost: costs,
    colLower: lower,
    colUpper: upper,
    rowLower: program.rows.map((row) => row.low ?? -highs.infinity),
    rowUpper: program.rows.map((row) => row.high ?? highs.infinity),
    integrality: integer.map((whole) => (whole ? variableType.integer : variableType.continuous)),
    matrix: {
      format: "csr",
      numRows: program.rows.length,
      numCols: n,
      starts,
      indices: terms.map(([variable]) => variable),
      values: terms.map(([, coefficient]) => coefficient),
    },
  });
  try {
    // The default stops within 0.01 % of the optimum.
    model.options.set({ output_flag: false, time_limit: seconds, mip_rel_gap: 0, random_seed: 0 });
    const status = model.run().modelStatus;
    if (status === modelStatus.optimal || status === modelStatus.timeLimit) {
      return solution(model.getSolution().colValue, program, integer, status === modelStatus.optimal);
    }
    const none = { x: new Float64Array(), value: Number.NaN };
    if (status === modelStatus.infeasible) return { status: "infeasible", ...none };
    if (status === modelStatus.unbounded || status === modelStatus.unboundedOrInfeasible) {
      return { status: "unbounded", ...none };
    }
    throw new EspalierError("data", "linear program", `expected a solution, got status ${status} of the solver.`);
  } finally {
    model.dispose();
  }
}

function solution(values: Float64Array, program: LinearProgram, integer: boolean[], optimal: boolean): Solution {
  const x = values.map((v, i) => (integer[i] ? Math.round(v) : v));
  // At a time limit the solver may hold values that are no solution.
  if (!optimal && !satisfies(x, program)) return { status: "limit", x: new Float64Array(), value: Number.NaN };
  return { status: optimal ? "optimal" : "limit", x, value: x.reduce((s, v, i) => s + v * (program.costs[i] ?? 0), 0) };
}

function satisfies(x: Float64Array, { rows }: LinearProgram): boolean {
  return (
    x.length > 0 &&
    rows.every(({ terms, low = Number.NEGATIVE_INFINITY, high = Number.POSITIVE_INFINITY }) => {
      const sum = terms.reduce((s, [variable, coefficient]) => s + coefficient * (x[variable] ?? 0), 0);
      const slack = 1e-6 * terms.reduce((s, [v, coefficient]) => s + Math.abs(coefficient * (x[v] ?? 0)), 1);
      return sum >= low - slack && sum <= high + slack;
    })
  );
}

function trivial({ rows }: LinearProgram): Solution {
  const feasible = rows.every(({ low = 0, high = 0 }) => low <= 0 && high >= 0);
  return { status: feasible ? "optimal" : "infeasible", x: new Float64Array(), value: feasible ? 0 : Number.NaN };
}

function checkProgram({ rows }: LinearProgram, costs: number[], lower: number[], upper: number[]): void {
  const n = costs.length;
  const refuse = (what: string) => {
    throw new EspalierError("data", "linear program", `expected ${what}.`);
  };
  if (!costs.every(Number.isFinite)) refuse("finite costs");
  if (lower.some(Number.isNaN) || upper.some(Number.isNaN)) refuse("bounds that are numbers");
  for (const [r, { terms, low, high }] of rows.entries()) {
    if (Number.isNaN(low) || Number.isNaN(high)) refuse(`bounds of row ${r} that are numbers`);
    const seen = new Set<number>();
    for (const [variable, coefficient] of terms) {
      const known = Number.isInteger(variable) && variable >= 0 && variable < n && !seen.has(variable);
      if (!known) refuse(`row ${r} to name variables below ${n}, each once, got ${variable}`);
      if (!Number.isFinite(coefficient)) refuse(`finite coefficients in row ${r}, got ${coefficient}`);
      seen.add(variable);
    }
  }
}
