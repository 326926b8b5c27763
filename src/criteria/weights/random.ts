import { random as seeded } from "../../tensor/random.ts";
import type { Criterion } from "../criterion.ts";

/** Uniform noise, the baseline that every criterion must beat. The same seed gives the same scores everywhere. */
export function random(seed: number): Criterion<never> {
  return {
    id: "random",
    needs: [],
    // A stream for each row, so that a parameter scored in stretches gets the same numbers.
    elements: ({ rows, columns, firstRow, parameter }) => {
      const source = seeded(seed, "criterion", parameter);
      const out = new Float64Array(rows * columns);
      for (let r = 0, i = 0; r < rows; r++) {
        const row = source.split(firstRow + r);
        for (let c = 0; c < columns; c++) out[i++] = row.uniform();
      }
      return out;
    },
    features: ({ rows, parameter }, side) => {
      if (side !== "output") return null;
      const source = seeded(seed, "criterion", parameter, "rows");
      const out = new Float64Array(rows);
      for (let r = 0; r < rows; r++) out[r] = source.uniform();
      return out;
    },
  };
}
