import { EspalierError } from "../../tensor/error.ts";
import type { Criterion, WeightView } from "../criterion.ts";

/** √E[x²] of the input feature that each weight multiplies. As a criterion of units: how strong an input feature is. */
export function inputNorm(): Criterion<"inputMeanSquare"> {
  return {
    id: "activation",
    needs: ["inputMeanSquare"],
    elements: (weight, { inputMeanSquare }) => {
      const { rows, columns, positions } = weight;
      const start = groupStarts(weight, inputMeanSquare.length);
      const out = new Float64Array(rows * columns);
      for (let r = 0, i = 0; r < rows; r++) {
        const at = start(r);
        for (let feature = 0; feature * positions < columns; feature++) {
          const norm = Math.sqrt(inputMeanSquare[at + feature] ?? 0);
          for (let p = 0; p < positions; p++) out[i++] = norm;
        }
      }
      return out;
    },
    factors: {
      power: 0,
      columns: ({ columns, positions, matrix }, { inputMeanSquare }) => {
        if ((matrix?.groups ?? 1) !== 1 || inputMeanSquare.length * positions !== columns) return null;
        return Float64Array.from({ length: columns }, (_, c) =>
          Math.sqrt(inputMeanSquare[Math.floor(c / positions)] ?? 0),
        );
      },
    },
    features: (weight, side, { inputMeanSquare }) => {
      return side === "input" ? inputFeatures(weight, inputMeanSquare).map(Math.sqrt) : null;
    },
  };
}

/** A statistic of each input feature of a matrix; of a grouped convolution, the mean over its groups. Throws `shape`. */
export function inputFeatures(weight: WeightView, statistic: Float64Array): Float64Array {
  const features = weight.columns / weight.positions;
  groupStarts(weight, statistic.length);
  const groups = statistic.length / features;
  const out = new Float64Array(features);
  for (let i = 0; i < statistic.length; i++) out[i % features] = (out[i % features] ?? 0) + (statistic[i] ?? 0);
  for (let j = 0; j < features; j++) out[j] = (out[j] ?? 0) / groups;
  return out;
}

/**
 * Where the input features of a row start in a statistic that lists the features of all groups of a grouped
 * convolution. Throws `shape` where the statistic does not fit the matrix.
 */
function groupStarts(weight: WeightView, length: number): (row: number) => number {
  const { columns, positions, matrix, firstRow, totalRows, parameter } = weight;
  const features = columns / positions;
  const groups = matrix?.groups ?? 1;
  if (length === features) return () => 0;
  if (length !== features * groups) {
    throw new EspalierError("shape", parameter, `expected statistics of ${features * groups} features, got ${length}.`);
  }
  return (row) => Math.floor(((firstRow + row) * groups) / totalRows) * features;
}
