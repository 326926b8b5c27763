import { type Criterion, reduceElements, type WeightView } from "../criterion.ts";

/** The numbers of a statistic [rows, columns] of the whole parameter that belong to a view of some of its rows. */
export function rowsOf(view: WeightView, statistic: Float32Array): Float32Array {
  const start = view.firstRow * view.columns;
  return statistic.subarray(start, start + view.rows * view.columns);
}

/** f(w, statistic) for each weight. */
export function perWeight(
  view: WeightView,
  statistic: Float32Array,
  f: (weight: number, measured: number) => number,
): Float64Array {
  const own = rowsOf(view, statistic);
  const { values } = view;
  const out = new Float64Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = f(values[i] ?? 0, own[i] ?? 0);
  return out;
}

/** True where nothing was measured of a parameter, or it holds what data made and not training. */
export function saysNothing({ role }: WeightView, statistic: Float32Array): boolean {
  return statistic.length === 0 || role === "statistics";
}

/** A criterion of one statistic per weight, of which units get the sum, biases and scales of norms included. */
export function summed<N extends GradientStatistic>(
  id: string,
  need: N,
  f: (weight: number, measured: number) => number,
): Criterion<N> {
  const elements = (view: WeightView, statistics: { readonly [K in N]: Float32Array }): Float64Array =>
    perWeight(view, statistics[need], f);
  return {
    id,
    needs: [need],
    elements,
    features: (view, side, statistics) =>
      saysNothing(view, statistics[need]) ? null : reduceElements(view, side, elements(view, statistics), "sum"),
  };
}

type GradientStatistic =
  | "gradient"
  | "gradientMagnitude"
  | "gradientSquare"
  | "hessianDiagonal"
  | "hessianGradient"
  | "pathImportance"
  | "generalGradientSquare"
  | "synapticFlow";
