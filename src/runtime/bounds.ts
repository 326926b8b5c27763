import { describeNode } from "../graph/attributes.ts";
import type { Graph, Node } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";
import { load, sizeOf, type TensorRef } from "../tensor/tensor.ts";

/** Operators whose output size stands in an integer input, and which input that is. */
const sizedBy: ReadonlyMap<string, number> = new Map([
  ["ConstantOfShape", 0],
  ["Expand", 1],
  ["Tile", 1],
]);
/** Operators that pass integers on, all of them and unchanged, from these inputs (null: from all). */
const passesOn: ReadonlyMap<string, number | null> = new Map([
  ["Concat", null],
  ["Identity", 0],
  ["Cast", 0],
  ["Unsqueeze", 0],
  ["Squeeze", 0],
  ["Reshape", 0],
]);

const maxElements = 2 ** 28;

/**
 * Refuses a graph in which a few constant integers ask for more than 2^28 elements (1 GiB of f32): the runtime folds
 * constants while it compiles, so such a file would take the machine's memory before anything runs. Throws `model`.
 */
export async function checkBounds(graph: Graph): Promise<void> {
  const producers = new Map<string, Node>();
  const products = new Map<string, number | undefined>();
  for (const node of graph.nodes) {
    for (const name of node.outputs) producers.set(name, node);
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === "graph") await checkBounds(attribute.value);
    }
  }
  for (const node of graph.nodes) {
    const input = node.domain === "" ? sizedBy.get(node.op) : undefined;
    if (input === undefined) continue;
    const elements = await product(node.inputs[input] ?? "", 0);
    if (elements === undefined || elements <= maxElements) continue;
    throw new EspalierError(
      "model",
      describeNode(node),
      `expected at most ${maxElements} elements from constant sizes, got ${elements}.`,
      "The file is damaged, or was made to exhaust memory.",
    );
  }

  /** Product of the integers of a value, when constants alone decide it. */
  async function product(name: string, depth: number): Promise<number | undefined> {
    if (depth > 32) return undefined;
    if (products.has(name)) return products.get(name);
    const found = await productOf(name, depth);
    products.set(name, found);
    return found;
  }

  async function productOf(name: string, depth: number): Promise<number | undefined> {
    const ref = graph.constants.get(name);
    if (ref !== undefined) return constantProduct(ref);
    const node = producers.get(name);
    const from = node?.domain === "" ? passesOn.get(node.op) : undefined;
    if (node === undefined || from === undefined) return undefined;
    let total = 1;
    for (const input of from === null ? node.inputs : [node.inputs[from] ?? ""]) {
      const part = await product(input, depth + 1);
      if (part === undefined) return undefined;
      total *= part;
    }
    return total;
  }
}

async function constantProduct(ref: TensorRef): Promise<number | undefined> {
  if (ref.dtype !== "i64" || sizeOf(ref.shape) > 64) return undefined;
  const { bytes } = await load(ref);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let total = 1;
  for (let at = 0; at + 8 <= bytes.byteLength; at += 8) total *= Math.abs(Number(view.getBigInt64(at, true)));
  return total;
}
