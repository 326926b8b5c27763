import type { Matrix } from "../../coupling/matrices.ts";
import { vectorRoles } from "../../coupling/roles.ts";
import type { Graph, Node } from "../../graph/graph.ts";
import { sortNodes } from "../../graph/topological.ts";
import { combination } from "../../ops/combine.ts";
import { opSpec } from "../../ops/table.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import { load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";

/**
 * What a constant is to the model that trains it. Scales and shifts belong to norms, or to channels by a node of their
 * own; tables are looked up by integers; offsets are added or joined to activations and have a value for each position.
 */
export type ParameterKind = "matrix" | "bias" | "scale" | "shift" | "table" | "offset";

/** A constant that training changes. */
export interface Parameter {
  readonly name: string;
  readonly kind: ParameterKind;
}

/** A constant with no more different values than this switches positions on and off, and is not trained. */
const MASK_VALUES = 2;

/**
 * The constants of a graph that are trained, in the order in which data meets them: matrices of kernels, scales and
 * shifts of norms, biases, tables, and what is added, joined or multiplied to activations behind a trained matrix.
 * Not: running statistics, sizes, numbers of formulas, masks, rotations, and whatever prepares the input before the first
 * matrix. Matrices are those of the graph's analysis.
 */
export async function trainable(graph: Graph, matrices: readonly Matrix[]): Promise<readonly Parameter[]> {
  const found = new Map<string, ParameterKind>();
  const note = (name: string | undefined, kind: ParameterKind): void => {
    const ref = name === undefined ? undefined : graph.constants.get(name);
    if (name !== undefined && ref !== undefined && isFloat(ref.dtype) && !found.has(name)) found.set(name, kind);
  };
  const roles = vectorRoles(graph);
  const holders = new Map<Node, string[]>();
  for (const { node, parameter } of matrices) holders.set(node, [...(holders.get(node) ?? []), parameter]);
  /** Values that are a constant, moved or sliced, and nothing else. */
  const carried = new Map<string, string>([...graph.constants.keys()].map((name) => [name, name]));
  /** Values that a trained matrix or table has part in, and those that one has just given. */
  const behind = new Set<string>();
  const given = new Set<string>();
  for (const node of sortNodes(graph.nodes)) {
    const own = opSpec(node.domain, node.op)?.roles;
    const source = (index: number | undefined): string | undefined =>
      index === undefined ? undefined : carried.get(node.inputs[index] ?? "");
    for (const parameter of holders.get(node) ?? []) note(parameter, "matrix");
    const table = source(own?.table);
    if (table !== undefined && isTable(graph.constants.get(table))) note(table, "table");
    note(source(own?.bias), "bias");
    for (const index of [own?.scale, own?.shift]) {
      const name = source(index);
      const role = roles.get(name ?? "") ?? (index === own?.scale ? "scale" : "shift");
      if (role !== "statistics") note(name, role);
    }
    const learned = holders.has(node) || (table !== undefined && found.get(table) === "table");
    const after = node.inputs.some((name) => behind.has(name));
    if (after) for (const [name, kind] of await metBy(node, graph, { behind, given, source })) note(name, kind);
    if (holders.has(node)) for (const name of node.outputs) given.add(name);
    if (learned || after) for (const name of node.outputs) behind.add(name);
    else carry(node, graph, carried);
  }
  return [...found].map(([name, kind]) => ({ name, kind }));
}

/** True for a float constant with rows to look up. */
function isTable(ref: TensorRef | undefined): boolean {
  return ref !== undefined && isFloat(ref.dtype) && ref.shape.length > 1;
}

interface Surroundings {
  readonly behind: ReadonlySet<string>;
  readonly given: ReadonlySet<string>;
  /** The constant that an input carries. */
  source(index: number): string | undefined;
}

/** Constants that a node puts together with activations, and what they are to it. */
async function metBy(
  node: Node,
  graph: Graph,
  { behind, given, source }: Surroundings,
): Promise<ReadonlyMap<string, ParameterKind>> {
  const met = new Map<string, ParameterKind>();
  const way = combination(node);
  if (way === null) return met;
  for (const [index, value] of node.inputs.entries()) {
    const name = behind.has(value) ? undefined : source(index);
    const ref = name === undefined ? undefined : graph.constants.get(name);
    if (name === undefined || ref === undefined || !isFloat(ref.dtype)) continue;
    const long = ref.shape.filter((n) => n > 1).length;
    // A matrix with one row has a bias of one number.
    const single = sizeOf(ref.shape) === 1 && ref.shape.length === 1 && node.inputs.some((other) => given.has(other));
    if (way === "join") met.set(name, "offset");
    else if (long === 1 || (single && way === "sum")) met.set(name, way === "sum" ? "bias" : "scale");
    else if (way === "sum" && long > 1 && !(await isMask(ref))) met.set(name, "offset");
  }
  return met;
}

async function isMask(ref: TensorRef): Promise<boolean> {
  const different = new Set<number>();
  for (const value of toFloat32(await load(ref))) {
    different.add(value);
    if (different.size > MASK_VALUES) return false;
  }
  return true;
}

/** Notes the results of a node that only moves one float constant, whatever integers tell it how. */
function carry(node: Node, graph: Graph, carried: Map<string, string>): void {
  const floats = node.inputs.filter((name) => {
    const from = carried.get(name);
    return name !== "" && (from === undefined || isFloat(graph.constants.get(from)?.dtype ?? "f32"));
  });
  const [only, ...others] = floats;
  const from = carried.get(only ?? "");
  if (from === undefined || only !== node.inputs[0] || others.length > 0) return;
  const [result] = node.outputs;
  if (result !== undefined && sizeOf(graph.constants.get(from)?.shape ?? []) > 1) carried.set(result, from);
}

/** Parameters of the last matrices of a graph, behind which no other comes: what answers are made with. */
export function heads(graph: Graph, matrices: readonly Matrix[]): ReadonlySet<string> {
  const holders = new Map(matrices.map(({ node }) => [node, node.inputs]));
  const producers = new Map<string, Node>();
  for (const node of graph.nodes) for (const name of node.outputs) producers.set(name, node);
  const found = new Set<string>();
  const seen = new Set<string>();
  const open = graph.outputs.map(({ name }) => name);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const node = producers.get(name);
    if (seen.has(name)) continue;
    seen.add(name);
    if (node === undefined) found.add(name);
    else if (!holders.has(node)) open.push(...node.inputs);
  }
  for (const { node, parameter } of matrices) {
    if (!node.outputs.some((name) => seen.has(name))) continue;
    found.add(parameter);
    for (const name of node.inputs) found.add(name);
  }
  return found;
}
