import { intAttr, intsAttr, stringAttr } from "../graph/attributes.ts";
import type { Node } from "../graph/graph.ts";

/** A node that is a matrix product of its data with one trained matrix, plus an optional bias. */
export interface LinearForm {
  /** True where each column is an input feature at one position of a sliding window. */
  readonly window: boolean;
  /** The input that is added to every output position; null where the operator has none. */
  readonly bias: number | null;
  /** Axis of the output that counts rows of the matrix. */
  readonly outputAxis: (rank: number) => number;
}

/** The linear form of a node whose trained matrix is input `kernel`; null where it is more than that. */
export function linearForm(node: Node, kernel: number): LinearForm | null {
  if (node.domain !== "" && node.domain !== "ai.onnx") return null;
  switch (node.op) {
    case "Conv":
      return kernel === 1 ? { window: true, bias: 2, outputAxis: () => 1 } : null;
    case "Gemm":
      if (kernel > 1 || float(node, "alpha") !== 1 || float(node, "beta") !== 1) return null;
      return { window: false, bias: kernel === 1 ? 2 : null, outputAxis: () => (kernel === 1 ? 1 : 0) };
    case "MatMul":
      return { window: false, bias: null, outputAxis: (rank) => (kernel === 1 ? rank - 1 : rank - 2) };
    default:
      return null;
  }
}

/** True where the window of a node looks at one position only, which is the position that it writes. */
export function isPointwise(node: Node, positions: number): boolean {
  const still = (name: string, neutral: number): boolean =>
    (intsAttr(node, name, undefined) ?? []).every((n) => n === neutral);
  return (
    positions === 1 &&
    still("strides", 1) &&
    still("pads", 0) &&
    stringAttr(node, "auto_pad", "NOTSET") !== "SAME_UPPER"
  );
}

/** Attributes of a window that lay it over its input: everything but how channels are grouped. */
export function windowAttributes(node: Node): Node["attributes"] {
  return new Map([...node.attributes].filter(([name]) => name !== "group"));
}

/** True where no position of the window ever lies outside the input. */
export function isUnpadded(node: Node): boolean {
  const auto = stringAttr(node, "auto_pad", "NOTSET");
  return (auto === "NOTSET" || auto === "VALID") && (intsAttr(node, "pads", undefined) ?? []).every((n) => n === 0);
}

/** A constant operand as float64 with its shape. */
export interface Numbers {
  readonly shape: readonly number[];
  readonly values: Float64Array;
}

/** y = scale · x + shift for each channel. */
export interface ChannelAffine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** What a node does to each channel of one of its inputs where that is a scale and a shift; else null. */
export function channelAffine(
  node: Node,
  value: string,
  form: { readonly rank: number; readonly axis: number; readonly channels: number },
  constant: (name: string) => Numbers | undefined,
): ChannelAffine | null {
  const { channels } = form;
  const side = node.inputs.indexOf(value);
  if (side < 0 || node.inputs.lastIndexOf(value) !== side || node.domain !== "") return null;
  if (node.op === "Identity" || (node.op === "Dropout" && node.outputs.length === 1)) {
    return { scale: new Float64Array(channels).fill(1), shift: new Float64Array(channels) };
  }
  if (node.op === "BatchNormalization") {
    if (side !== 0 || form.axis !== 1 || intAttr(node, "training_mode", 0) !== 0) return null;
    const [gain, offset, mean, variance] = node.inputs.slice(1, 5).map((name) => constant(name)?.values);
    if (gain === undefined || offset === undefined || mean === undefined || variance === undefined) return null;
    const epsilon = float(node, "epsilon", 1e-5);
    const scale = gain.map((g, i) => g / Math.sqrt((variance[i] ?? 0) + epsilon));
    return { scale, shift: offset.map((b, i) => b - (mean[i] ?? 0) * (scale[i] ?? 0)) };
  }
  if (node.inputs.length !== 2) return null;
  const other = constant(node.inputs[1 - side] ?? "");
  const spread = other === undefined ? null : alongChannels(other, form);
  if (spread === null) return null;
  const ones = new Float64Array(channels).fill(1);
  const zeros = new Float64Array(channels);
  if (node.op === "Mul") return { scale: spread, shift: zeros };
  if (node.op === "Add") return { scale: ones, shift: spread };
  if (node.op === "Div" && side === 0) return { scale: spread.map((n) => 1 / n), shift: zeros };
  if (node.op === "Sub" && side === 0) return { scale: ones, shift: spread.map((n) => -n) };
  return null;
}

/** The other addend of a node that adds `value` to exactly one other value; null for other nodes. */
export function otherAddend(node: Node, value: string): string | null {
  if ((node.op !== "Add" && node.op !== "Sum") || node.domain !== "" || node.inputs.length !== 2) return null;
  const [a = "", b = ""] = node.inputs;
  if (a === b) return null;
  return a === value ? b : b === value ? a : null;
}

/** Inputs of a norm that hold running statistics which `mean` and `variance` of the data replace; null for other nodes. */
export function runningStatistics(node: Node): { readonly mean: string; readonly variance: string } | null {
  if (node.op !== "BatchNormalization" || node.domain !== "" || intAttr(node, "training_mode", 0) !== 0) return null;
  return { mean: node.inputs[3] ?? "", variance: node.inputs[4] ?? "" };
}

/** A constant that broadcasts over everything but the channel axis, spread over the channels. */
function alongChannels(
  { shape, values }: Numbers,
  { rank, axis, channels }: { readonly rank: number; readonly axis: number; readonly channels: number },
): Float64Array | null {
  if (shape.length > rank) return null;
  if (values.length === 1) return new Float64Array(channels).fill(values[0] ?? 0);
  const at = axis - (rank - shape.length);
  return values.length === channels && shape[at] === channels ? values : null;
}

function float(node: Node, name: string, fallback = 1): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === "float" || attribute?.kind === "int" ? attribute.value : fallback;
}

const pointwise: ReadonlySet<string> = new Set(
  "Relu LeakyRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Erf Mish Clip Abs Neg Exp Sqrt Identity".split(
    " ",
  ),
);

/** True where a node maps each number of its first input by itself, whatever else it takes being constant. */
export function isPointwiseFunction(node: Node): boolean {
  return node.domain === "" && pointwise.has(node.op);
}
