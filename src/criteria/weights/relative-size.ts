import { type Criterion, reduceElements } from "../criterion.ts";

/**
 * |wᵢⱼ| / Σⱼ |wᵢⱼ|: the share that a weight has of its row. An output of which all inputs are small counts as much as one of which
 * all are large. 0 in a row of zeros.
 */
export function relativeSize(): Criterion<never> {
  const elements: NonNullable<Criterion<never>["elements"]> = ({ values, rows, columns }) => {
    const out = new Float64Array(values.length);
    for (let r = 0, at = 0; r < rows; r++, at += columns) {
      let sum = 0;
      for (let c = 0; c < columns; c++) sum += Math.abs(values[at + c] ?? 0);
      if (sum === 0) continue;
      for (let c = 0; c < columns; c++) out[at + c] = Math.abs(values[at + c] ?? 0) / sum;
    }
    return out;
  };
  return {
    id: "relative-size",
    needs: [],
    elements,
    features: (view, side) => (side === "other" ? null : reduceElements(view, side, elements(view, {}), "sum")),
  };
}
