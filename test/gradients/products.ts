import { float, int, ints } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

/** Matrix products, reductions, and what only moves elements. */
export const productCases: readonly GradientCase[] = [
  { op: "MatMul", inputs: [{ shape: [2, 3] }, { shape: [3, 4] }] },
  { op: "MatMul", form: "batch", inputs: [{ shape: [2, 1, 2, 3] }, { shape: [3, 3, 2] }] },
  { op: "MatMul", form: "shared matrix", inputs: [{ shape: [2, 2, 3] }, { shape: [3, 2] }] },
  { op: "MatMul", form: "vector and matrix", inputs: [{ shape: [3] }, { shape: [2, 3, 2] }] },
  { op: "MatMul", form: "matrix and vector", inputs: [{ shape: [2, 2, 3] }, { shape: [3] }] },
  { op: "MatMul", form: "vectors", inputs: [{ shape: [3] }, { shape: [3] }] },
  { op: "Gemm", inputs: [{ shape: [2, 3] }, { shape: [3, 4] }, { shape: [4] }] },
  {
    op: "Gemm",
    form: "transposed",
    inputs: [{ shape: [3, 2] }, { shape: [4, 3] }, { shape: [2, 1] }],
    attributes: { transA: int(1), transB: int(1), alpha: float(0.5), beta: float(2) },
  },
  { op: "ReduceSum", inputs: [{ shape: [2, 3, 2] }, { ints: [1] }], attributes: { keepdims: int(0) } },
  { op: "ReduceSum", form: "all", inputs: [{ shape: [2, 3] }] },
  { op: "ReduceMean", inputs: [{ shape: [2, 3, 2] }, { ints: [0, -1] }] },
  { op: "ReduceMax", inputs: [{ shape: [2, 4], distinct: true }, { ints: [1] }] },
  { op: "ReduceMin", inputs: [{ shape: [2, 4], distinct: true }, { ints: [0] }], attributes: { keepdims: int(0) } },
  { op: "ReduceL1", inputs: [{ shape: [2, 3] }, { ints: [1] }], dtype: "f32" },
  { op: "ReduceL2", inputs: [{ shape: [2, 3] }, { ints: [1] }] },
  { op: "ReduceLogSum", inputs: [{ shape: [2, 3], range: [0.3, 2] }, { ints: [1] }], dtype: "f32" },
  { op: "ReduceLogSumExp", inputs: [{ shape: [2, 3] }, { ints: [1] }] },
  { op: "ReduceSumSquare", inputs: [{ shape: [2, 3] }, { ints: [0] }] },
  { op: "Softmax", inputs: [{ shape: [2, 4] }] },
  { op: "Softmax", form: "inner axis", inputs: [{ shape: [2, 3, 2] }], attributes: { axis: int(1) } },
  { op: "LogSoftmax", inputs: [{ shape: [2, 4] }] },
  { op: "Reshape", inputs: [{ shape: [2, 3] }, { ints: [3, -1] }] },
  { op: "Flatten", inputs: [{ shape: [2, 3, 2] }], attributes: { axis: int(2) } },
  { op: "Squeeze", inputs: [{ shape: [2, 1, 3] }, { ints: [1] }] },
  { op: "Unsqueeze", inputs: [{ shape: [2, 3] }, { ints: [0, -1] }] },
  { op: "Transpose", inputs: [{ shape: [2, 3, 2] }], attributes: { perm: ints([2, 0, 1]) } },
  { op: "Transpose", form: "reversed", inputs: [{ shape: [2, 3, 2] }] },
  { op: "Expand", inputs: [{ shape: [3, 1] }, { ints: [2, 1, 4] }] },
];
