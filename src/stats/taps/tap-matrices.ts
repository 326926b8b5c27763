import type { Matrix } from "../../coupling/matrices.ts";
import type { Draft } from "../../graph/draft.ts";
import type { TensorType } from "../../graph/graph.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { type ChannelMoments, type InputMoments, tapChannels, tapFeatures, tapInputs } from "./moments.ts";
import type { Tap } from "./tap.ts";
import { formOf, unfold } from "./unfold.ts";

/** What calibration measures at the input of a matrix. */
export type Need = "inputMean" | "inputMeanSquare" | "columnMean" | "gram" | "moments";

/** Statistics of one matrix; what was not asked for, or cannot be measured there, is absent. */
export interface Measurement {
  /** Mean of each input feature: [features]. */
  readonly inputMean?: Float64Array;
  /** Mean square of each input feature: [features]. */
  readonly inputMeanSquare?: Float64Array;
  /** Mean of each column, windows unfolded: [groups · columns]. */
  readonly columnMean?: Float64Array;
  /** Mean of x·xᵀ for each group, windows unfolded: [columns, columns]. */
  readonly gram?: readonly Float64Array[];
  /** Sums behind the Gram matrix, with the sums of the columns. */
  readonly moments?: InputMoments;
}

/**
 * Adds taps for the inputs of matrices to one draft. Matrices whose input is no float or of unknown type are left out;
 * those whose input cannot be unfolded have no `gram`.
 */
export function tapMatrices(
  draft: Draft,
  opset: number,
  types: ReadonlyMap<string, TensorType>,
  matrices: readonly Matrix[],
  needs: readonly Need[],
): Tap<ReadonlyMap<Matrix, Measurement>> {
  const gram = needs.includes("gram") || needs.includes("moments");
  const columns = needs.includes("columnMean");
  const vectors = needs.includes("inputMean") || needs.includes("inputMeanSquare");
  const taps = new Map<Matrix, MatrixTaps>();
  for (const matrix of matrices) {
    const value = matrix.data?.value ?? "";
    const type = types.get(value);
    if (matrix.data === null || type === undefined || !isFloat(type.dtype)) continue;
    const entry: MatrixTaps = {};
    if (gram && formOf(matrix) !== null) entry.inputs = tapInputs(draft, opset, matrix, value, type);
    if (columns && !gram && formOf(matrix) !== null) {
      const unfolded = unfold(draft, matrix, value, type);
      entry.columns = tapFeatures(draft, opset, unfolded, matrix.groups * matrix.columns);
    }
    if (vectors) entry.channels = tapChannels(draft, opset, value, matrix.data.axis, type);
    taps.set(matrix, entry);
  }
  const all = [...taps.values()].flatMap((entry) => Object.values(entry));
  return {
    outputs: all.flatMap((tap) => tap.outputs),
    add: (values) => {
      for (const tap of all) tap.add(values);
    },
    result: () => new Map([...taps].map(([matrix, entry]) => [matrix, measurementOf(entry, needs)])),
  };
}

interface MatrixTaps {
  inputs?: Tap<InputMoments>;
  columns?: Tap<ChannelMoments>;
  channels?: Tap<ChannelMoments>;
}

function measurementOf(entry: MatrixTaps, needs: readonly Need[]): Measurement {
  const channels = entry.channels?.result();
  const moments = entry.inputs?.result();
  const columns = moments ?? entry.columns?.result();
  return {
    ...(columns === undefined ? {} : { columnMean: columns.sum.map((n) => n / columns.count) }),
    ...(channels === undefined
      ? {}
      : {
          inputMean: channels.sum.map((n) => n / channels.count),
          inputMeanSquare: channels.squares.map((n) => n / channels.count),
        }),
    ...(moments === undefined ? {} : gramOf(moments, needs)),
  };
}

/** Means take the memory of the sums, which is that of many weights, unless both were asked for. */
function gramOf(moments: InputMoments, needs: readonly Need[]): Pick<Measurement, "gram" | "moments"> {
  if (!needs.includes("gram")) return { moments };
  const asked = needs.includes("moments");
  const gram = asked ? moments.gram.map((sums) => sums.slice()) : moments.gram;
  for (const means of gram) for (let i = 0; i < means.length; i++) means[i] = (means[i] ?? 0) / moments.count;
  return asked ? { gram, moments } : { gram };
}
