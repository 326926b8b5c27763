import { int } from "../../graph/attributes.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph, Node } from "../../graph/graph.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import { isLookup } from "./uses.ts";

/** Weights with fewer elements stay as they are. */
const fewest = 256;

/** Largest half float. */
const largest = 65_504;

/**
 * The same graph with its float32 weights stored as half floats, and computed in float32: the file is half as large, and
 * runs where half floats are only stored. Rows that are looked up are cast after that. Weights beyond ±65,504 throw `data`
 * when they are written.
 */
export function inHalf(graph: Graph): Graph {
  const draft = edit(graph);
  const to = { to: int(onnxNumberOf("f32")) };
  for (const [name, ref] of graph.constants) {
    if (ref.dtype !== "f32" || sizeOf(ref.shape) < fewest) continue;
    const readers = draft.consumers(name);
    const lookups = readers.filter((node) => isLookup(node, name));
    const others = readers.filter((node) => !lookups.includes(node));
    const half = draft.constant(halved(name, ref), `${name}.f16`);
    for (const lookup of lookups) {
      const current: Node = draft.setInput(lookup, 0, half);
      const rows = current.outputs[0] ?? "";
      draft.replaceUses(rows, draft.op("Cast", [rows], to));
    }
    if (others.length > 0) draft.replaceUses(name, draft.op("Cast", [half], to), { only: others });
    draft.removeConstant(name);
  }
  return draft.finish();
}

function halved(name: string, from: TensorRef): TensorRef {
  const { shape } = from;
  const by = async (): Promise<Uint8Array> => {
    const values = toFloat32(await load(from));
    for (const value of values) {
      if (Math.abs(value) <= largest) continue;
      const message = `expected weights within ±${largest} for half floats, got ${value}.`;
      throw new EspalierError("data", name, message, "Store them as float32 or in 8 bits.");
    }
    return fromFloats("f16", shape, values).bytes;
  };
  return { dtype: "f16", shape, made: { from, by } };
}
