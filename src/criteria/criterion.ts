import type { Matrix } from "../coupling/matrices.ts";
import type { VectorRole } from "../coupling/roles.ts";
import type { AnchorStrength, PathSettings } from "../stats/gradients/importance-along.ts";
import type { Shape } from "../tensor/tensor.ts";

/** What calibration can measure at the input of a matrix, per input feature unless said otherwise. */
export interface MatrixStatistics {
  /** Mean of x over tokens or positions: [features of all groups]. */
  readonly inputMean: Float64Array;
  /** Mean of x² over tokens or positions: [features of all groups]. */
  readonly inputMeanSquare: Float64Array;
  /** Mean of x·xᵀ over tokens or positions, kernel positions unfolded: [columns, columns], for each group of rows. */
  readonly gram: readonly Float64Array[];
  /** Gradient of the mean loss by each weight: [rows, columns]. */
  readonly gradient: Float32Array;
  /** Mean over samples of the absolute gradient of each sample: [rows, columns]. */
  readonly gradientMagnitude: Float32Array;
  /** Mean over samples of the square of the gradient of each sample, the diagonal of the empirical Fisher: [rows, columns]. */
  readonly gradientSquare: Float32Array;
  /** Diagonal of the Hessian of the loss, estimated: [rows, columns]. */
  readonly hessianDiagonal: Float32Array;
  /** Hessian times mean gradient, at softened logits and up to a positive factor for the model: [rows, columns]. */
  readonly hessianGradient: Float32Array;
  /** Σ over the updates of a short training of what removing each weight would have changed the loss by: [rows, columns]. */
  readonly pathImportance: Float32Array;
  /** `gram`, `gradient` and `gradientSquare` on general data, which stands for all that a model should not forget. */
  readonly generalGram: readonly Float64Array[];
  readonly generalGradient: Float32Array;
  readonly generalGradientSquare: Float32Array;
  /** |w · ∂R/∂w| of the flow R of ones through absolute weights; measured without data: [rows, columns]. */
  readonly synapticFlow: Float32Array;
}

/** What a matrix has when nothing was measured; criteria only read what they declared. */
export const noStatistics: MatrixStatistics = {
  inputMean: new Float64Array(0),
  inputMeanSquare: new Float64Array(0),
  gram: [],
  gradient: new Float32Array(0),
  gradientMagnitude: new Float32Array(0),
  gradientSquare: new Float32Array(0),
  hessianDiagonal: new Float32Array(0),
  hessianGradient: new Float32Array(0),
  pathImportance: new Float32Array(0),
  generalGram: [],
  generalGradient: new Float32Array(0),
  generalGradientSquare: new Float32Array(0),
  synapticFlow: new Float32Array(0),
};

export type Statistic = keyof MatrixStatistics;

/** A parameter as criteria see it: rows are output features, columns are input features times kernel positions. */
export interface WeightView {
  /** Where it is used; a vector of a norm or a bias has none. */
  readonly matrix: Matrix | null;
  readonly parameter: string;
  readonly shape: Shape;
  readonly rows: number;
  readonly columns: number;
  /** Row of the parameter that row 0 of `values` is, where a view is one stretch of a large parameter. */
  readonly firstRow: number;
  /** Rows of the whole parameter. */
  readonly totalRows: number;
  /** What a vector is to the norm that reads it; null for everything else. */
  readonly role: VectorRole | null;
  /** Positions of the kernel: columns are [input features, positions]. */
  readonly positions: number;
  /** [rows, columns], row-major. */
  readonly values: Float32Array;
  /** The same numbers as [input features, rows, positions], where the parameter lies so and `values` would be a copy. */
  readonly byFeature?: Float32Array | undefined;
}

/** What a group member is to its parameter: rows or columns of a matrix, or entries of a vector. */
export type Side = "output" | "input" | "other";

/** A short training along which importance is added up, and the scores that hold weights where they are. */
export interface LearningPath extends Omit<PathSettings, "anchor"> {
  readonly anchor?: { readonly scores: Criterion<Statistic>; readonly strength: AnchorStrength };
}

/** Scores |w|ᵖ · s, where s is a number of the column. */
export interface Factors<N extends Statistic = Statistic> {
  readonly power: number;
  /** s of each column, the same in all rows: [columns]; null where groups of rows have numbers of their own. */
  readonly columns: (weight: ColumnsView, statistics: Pick<MatrixStatistics, N>) => Float64Array | null;
}

/** What factors see of a parameter: all but its weights. */
export type ColumnsView = Pick<WeightView, "columns" | "positions" | "matrix" | "parameter">;

/** Weights and statistics to scores; a larger score means keep. */
export interface Criterion<N extends Statistic = Statistic> {
  readonly id: string;
  /** Statistics that it reads; reading another does not compile. */
  readonly needs: readonly N[];
  /** How `pathImportance` is measured, where it is read. */
  readonly path?: LearningPath;
  /** True where scores of single weights need the whole parameter at once; others are asked stretch by stretch. */
  readonly whole?: boolean;
  /** Score of each weight, [rows, columns]; null for criteria that only know units. */
  readonly elements: ((weight: WeightView, statistics: Pick<MatrixStatistics, N>) => Float64Array) | null;
  /** Where scores of single weights come apart, the same as two factors; weights are then scored while they are ranked. */
  readonly factors?: Factors<N> | undefined;
  /**
   * Score of each output feature, input feature or vector entry; null where this side says nothing.
   * Criteria with element scores are reduced by `byReduction`.
   */
  readonly features: (weight: WeightView, side: Side, statistics: Pick<MatrixStatistics, N>) => Float64Array | null;
}

/** True where a statistic that the criterion reads was not measured. */
export function isMissing<N extends Statistic>(
  criterion: Criterion<N>,
  statistics: Pick<MatrixStatistics, N>,
): boolean {
  return criterion.needs.some((need) => statistics[need].length === 0);
}

export type Reduction = "sum" | "mean" | "max";

/** Reduces element scores [rows, columns] to rows or to input features. */
export function reduceElements(weight: WeightView, side: Side, scores: Float64Array, how: Reduction): Float64Array {
  const { rows, columns, positions } = weight;
  const byRow = side !== "input";
  const out = new Float64Array(byRow ? rows : columns / positions);
  for (let r = 0, i = 0; r < rows; r++) {
    for (let feature = 0, c = 0; c < columns; feature++) {
      const at = byRow ? r : feature;
      let value = out[at] ?? 0;
      for (let p = 0; p < positions; p++, c++, i++) {
        const score = scores[i] ?? 0;
        value = how === "max" ? Math.max(value, score) : value + score;
      }
      out[at] = value;
    }
  }
  if (how === "mean") {
    const count = (rows * columns) / out.length;
    for (let i = 0; i < out.length; i++) out[i] = (out[i] ?? 0) / count;
  }
  return out;
}
