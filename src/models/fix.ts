import type { OnnxModel } from "../formats/onnx/model.ts";
import type { Graph } from "../graph/graph.ts";
import { inlineIf } from "../graph/passes/inline-if.ts";
import { isFloat } from "../tensor/dtype.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { fromFloats, fromInts } from "../tensor/numeric.ts";
import { formatShape, type HostTensor, sizeOf } from "../tensor/tensor.ts";

/**
 * Makes inputs constants and replaces every If whose condition is then known by the branch it takes, so that a model that
 * lives inside an If can be pruned. Values are written as in `true`, `3` or `0.5`. Throws `request`.
 */
export async function withFixed(model: OnnxModel, values: ReadonlyMap<string, string>): Promise<OnnxModel> {
  const fixed = new Map<string, HostTensor>();
  for (const [name, text] of values) fixed.set(name, parse(model.graph, name, text));
  return { ...model, graph: await inlineIf(model.graph, fixed) };
}

function parse(graph: Graph, name: string, text: string): HostTensor {
  const info = graph.inputs.find((input) => input.name === name);
  const names = graph.inputs.map((input) => input.name);
  if (info === undefined || info.dtype === null) {
    const hint = didYouMean(name, names) || `The inputs are ${names.slice(0, 5).join(", ")}.`;
    throw new EspalierError("request", `--fix ${name}`, "expected the name of a model input.", hint);
  }
  const shape = (info.dims ?? []).map((dim) => (typeof dim === "number" ? dim : 1));
  const number = text === "true" ? 1 : text === "false" ? 0 : Number(text);
  const { dtype } = info;
  const whole = dtype === "bool" || dtype === "i64" || dtype === "i32";
  if (text.trim() === "" || Number.isNaN(number) || sizeOf(shape) !== 1 || !(whole || isFloat(dtype))) {
    throw new EspalierError(
      "request",
      `--fix ${name}`,
      `expected one number for an input ${dtype} ${formatShape(info.dims ?? [])}, got "${text}".`,
      "Only inputs of a single number can be fixed.",
    );
  }
  return whole
    ? fromInts(dtype, shape, [number])
    : fromFloats(isFloat(dtype) ? dtype : "f32", shape, Float64Array.of(number));
}
