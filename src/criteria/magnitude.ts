import { type Criterion, reduceElements } from "./criterion.ts";

/** |w|ᵖ; units are the p-norm over all their weights, without the root (DepGraph, section 3.3). */
export function magnitude(p: 1 | 2 = 2): Criterion<never> {
  const elements: NonNullable<Criterion<never>["elements"]> = ({ values }) => {
    const out = new Float64Array(values.length);
    if (p === 1) for (let i = 0; i < out.length; i++) out[i] = Math.abs(values[i] ?? 0);
    else for (let i = 0; i < out.length; i++) out[i] = (values[i] ?? 0) * (values[i] ?? 0);
    return out;
  };
  return {
    id: `l${p}`,
    needs: [],
    elements,
    features: (weight, side) => (side === "other" ? null : reduceElements(weight, side, elements(weight, {}), "sum")),
  };
}
