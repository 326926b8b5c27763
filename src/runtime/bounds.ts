import { describeNode } from "../graph/attributes.ts";
import type { Graph, Node, TensorType } from "../graph/graph.ts";
import { type ConstantValues, constantValues, type Integers, progressions, quotients } from "../ops/constant-values.ts";
import { EspalierError } from "../tensor/error.ts";
import { formatShape, sizeOf } from "../tensor/tensor.ts";

/** Operators whose output size stands in an integer input, and which input that is. */
const sizedBy: ReadonlyMap<string, number> = new Map([
  ["ConstantOfShape", 0],
  ["Expand", 1],
  ["Tile", 1],
  ["OneHot", 1],
]);

const maxElements = 2 ** 28;
/** Of a value that a run would hold: 4 GiB of f32. */
const maxRunElements = 2 ** 30;

/** Refuses sizes that no run could hold, before anything is made of them. Throws `model`. */
export function checkTypes(types: ReadonlyMap<string, TensorType>, max = maxRunElements): void {
  for (const [name, { shape }] of types) {
    if (sizeOf(shape) <= max && shape.every((size) => size >= 0)) continue;
    throw new EspalierError(
      "model",
      `value "${name}"`,
      `expected at most ${max} elements, got ${formatShape(shape)}.`,
      "Give smaller sizes with --shape; or the file is damaged.",
    );
  }
}

/**
 * Refuses a graph whose constants ask for more than 2^28 elements (1 GiB of f32), or for a quotient that stops the
 * process: the runtime folds constants while it compiles, so such a file would do its harm before anything runs.
 * Throws `model`.
 */
export async function checkBounds(graph: Graph, outer?: ConstantValues): Promise<void> {
  const values = constantValues(graph, outer);
  for (const node of graph.nodes) {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === "graph") await checkBounds(attribute.value, values);
    }
    if (node.domain !== "") continue;
    checkElements(node, await elementsOf(node, values));
    if (quotients.has(node.op)) await checkQuotient(node, values);
  }
}

/** Elements that constants alone make a node give; 0 where that is not known. */
async function elementsOf(node: Node, values: ConstantValues): Promise<number> {
  const input = sizedBy.get(node.op);
  const sizes = input === undefined ? undefined : await values.integers(node.inputs[input] ?? "");
  const asked = sizes === undefined ? 0 : product(sizes);
  const folded = await values.shape(node.outputs[0] ?? "");
  const range = progressions.has(node.op) ? await rangeLength(node, values) : 0;
  return Math.max(asked, range, folded === undefined ? 0 : sizeOf(folded));
}

function product({ values }: Integers): number {
  return values.reduce((total, value) => total * Math.abs(Number(value)), 1);
}

async function rangeLength(node: Node, values: ConstantValues): Promise<number> {
  const [start, limit, delta] = await Promise.all([0, 1, 2].map((i) => values.integers(node.inputs[i] ?? "")));
  const [from, to, by] = [start, limit, delta].map((found) => Number(found?.values[0] ?? Number.NaN));
  if (from === undefined || to === undefined || by === undefined) return 0;
  // A step below one is cut to zero here, and then only the distance is known.
  const length = Math.ceil((to - from) / (by === 0 ? Math.sign(to - from) || 1 : by));
  return Number.isNaN(length) ? 0 : Math.max(0, length);
}

function checkElements(node: Node, elements: number): void {
  if (elements <= maxElements) return;
  throw new EspalierError(
    "model",
    describeNode(node),
    `expected at most ${maxElements} elements from constant sizes, got ${elements}.`,
    "The file is damaged, or was made to exhaust memory.",
  );
}

/** The smallest integer has no opposite: processors stop the process when it is divided by -1. */
async function checkQuotient(node: Node, values: ConstantValues): Promise<void> {
  const [above, below] = [await values.integers(node.inputs[0] ?? ""), await values.integers(node.inputs[1] ?? "")];
  if (above === undefined || below?.values.includes(-1n) !== true) return;
  const smallest = -(2n ** BigInt(above.bits - 1));
  if (!above.values.includes(smallest)) return;
  throw new EspalierError(
    "model",
    describeNode(node),
    `expected a quotient of integers that exists, got ${smallest} by -1.`,
    "The file is damaged, or was made to stop the program.",
  );
}
