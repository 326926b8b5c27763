import { intAttr } from "../../graph/attributes.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph, Node } from "../../graph/graph.ts";
import { removeDeadCode } from "../../graph/passes/dead-code.ts";
import { isFloat, onnxNumberOf } from "../../tensor/dtype.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { load, type TensorRef } from "../../tensor/tensor.ts";

/** The same graph with weights that it casts to float32 stored as float32, one at a time when they are written. */
export function inFloat32(graph: Graph): Graph {
  const draft = edit(graph);
  for (const [name, ref] of graph.constants) {
    if (ref.dtype === "f32" || !isFloat(ref.dtype)) continue;
    const readers = draft.consumers(name);
    const casts = readers.filter(isWidening);
    if (casts.length === 0) continue;
    const wide = casts.length === readers.length ? name : draft.fresh(name);
    draft.setConstant(wide, widened(ref));
    for (const cast of casts) {
      draft.replaceUses(cast.outputs[0] ?? "", wide);
      draft.remove(cast);
    }
  }
  return removeDeadCode(draft.finish());
}

function isWidening(node: Node): boolean {
  return node.domain === "" && node.op === "Cast" && intAttr(node, "to", 0) === onnxNumberOf("f32");
}

function widened(from: TensorRef): TensorRef {
  const { shape } = from;
  const by = async (): Promise<Uint8Array> => fromFloats("f32", shape, toFloat32(await load(from))).bytes;
  return { dtype: "f32", shape, made: { from, by } };
}
