import type { Matrix } from "../coupling/matrices.ts";
import { parameterBehind } from "../coupling/parameter-behind.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { type UseDef, useDef } from "../graph/uses.ts";
import { type Numbers, runningStatistics } from "../ops/linear.ts";
import { formOf } from "../stats/taps/unfold.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats, toFloat64 } from "../tensor/numeric.ts";
import { transpose } from "../tensor/slice.ts";
import { load } from "../tensor/tensor.ts";
import { canonicalOrder, matrixView } from "./weight-view.ts";

/** The weights of a matrix as [rows, columns] in float64, a copy. */
export async function readMatrix(graph: Graph, matrix: Matrix): Promise<Float64Array> {
  const ref = graph.constants.get(matrix.parameter);
  if (ref === undefined) throw missing(matrix.parameter);
  return Float64Array.from(matrixView(matrix, await load(ref)).values);
}

/** The graph with other weights in a matrix. weights: [rows, columns]. */
export function writeMatrix(graph: Graph, matrix: Matrix, weights: Float64Array): Graph {
  const ref = graph.constants.get(matrix.parameter);
  if (ref === undefined || !isFloat(ref.dtype)) throw missing(matrix.parameter);
  const order = canonicalOrder(matrix);
  const laid = fromFloats(
    ref.dtype,
    order.map((axis) => matrix.shape[axis] ?? 1),
    weights,
  );
  const back = order.map((_, axis) => order.indexOf(axis));
  return withConstant(graph, matrix.parameter, {
    dtype: ref.dtype,
    ...{ shape: matrix.shape, bytes: transpose(laid, back).bytes },
  });
}

/** The graph with another constant. */
export function withConstant(graph: Graph, name: string, tensor: ReturnType<typeof fromFloats>): Graph {
  return { ...graph, constants: new Map(graph.constants).set(name, { ...tensor, resident: tensor.bytes }) };
}

/**
 * All float constants of a graph that are vectors or scalars in memory or on disk, for rules that look at channels; by the names of what
 * they are cast to as well, since narrow types are stored and not computed in.
 */
export async function smallConstants(graph: Graph): Promise<(name: string) => Numbers | undefined> {
  const found = new Map<string, Numbers>();
  for (const [name, ref] of graph.constants) {
    const long = ref.shape.filter((n) => n > 1).length;
    if (long <= 1 && isFloat(ref.dtype)) found.set(name, { shape: ref.shape, values: toFloat64(await load(ref)) });
  }
  const links = useDef(graph);
  return (name) => found.get(name) ?? found.get(carriedWhole(graph, links, name) ?? "");
}

/** The parameter that a value is, whatever it is cast to on the way; undefined where it is moved, or none. */
function carriedWhole(graph: Graph, links: UseDef, value: string): string | undefined {
  const carried = parameterBehind(value, graph, links, 1);
  return carried?.axes === undefined ? carried?.parameter : undefined;
}

/** The float parameter that a value is, whatever it is cast to on the way, where nothing else reads it; null where it is none. */
export function ownParameter(graph: Graph, value: string): string | null {
  const links = useDef(graph);
  const name = carriedWhole(graph, links, value);
  const ref = name === undefined ? undefined : graph.constants.get(name);
  if (name === undefined || ref === undefined || !isFloat(ref.dtype)) return null;
  for (let at = name; ; ) {
    const [reader, ...others] = links.consumers(at);
    if (reader === undefined || others.length > 0 || links.isOutput(at)) return null;
    if (at === value) return name;
    at = reader.node.outputs[0] ?? "";
  }
}

/** A constant that is added to the output of a matrix, or taken from it, one number for each row, and that nothing else reads. */
interface Place {
  readonly name: string;
  readonly sign: 1 | -1;
}

/** The bias of a matrix where it has one of its own, else the running mean of the norm behind it. */
function placeOf(graph: Graph, matrix: Matrix, rows: number): Place | null {
  const form = formOf(matrix);
  const node = graph.nodes.find(({ outputs }) => outputs[0] === matrix.node.outputs[0]);
  const [output = ""] = node?.outputs ?? [];
  const readers = (name: string) => graph.nodes.filter(({ inputs }) => inputs.includes(name));
  const own = (value: string): string | null => {
    const name = ownParameter(graph, value);
    const shape = graph.constants.get(name ?? "")?.shape;
    return shape?.length === 1 && shape[0] === rows ? name : null;
  };
  const bias = form === null || form.bias === null ? "" : (node?.inputs[form.bias] ?? "");
  const ownBias = bias === "" ? null : own(bias);
  if (ownBias !== null) return { name: ownBias, sign: 1 };
  const [next, ...others] = readers(output);
  const statistics = next === undefined || others.length > 0 ? null : runningStatistics(next);
  if (statistics === null || graph.outputs.some(({ name }) => name === output)) return null;
  const mean = own(statistics.mean);
  return mean === null ? null : { name: mean, sign: -1 };
}

/** Whether the output of a matrix can be shifted without one parameter more. */
export function canShift(graph: Graph, matrix: Matrix): boolean {
  const shape = graph.constants.get(matrix.parameter)?.shape ?? matrix.shape;
  const rows = matrix.outputs.reduce((product, axis) => product * (shape[axis] ?? 1), 1);
  return placeOf(graph, matrix, rows) !== null;
}

/**
 * The graph in which the output of a matrix is `amount` larger in each row: in its bias where it has one of its own, in
 * the running mean of the norm behind it, or in a new bias of the type of the output, which is not always that of the weights.
 */
export async function shiftOutput(
  graph: Graph,
  matrix: Matrix,
  { dtype: type, shape: given }: TensorType,
  amount: Float64Array,
): Promise<Graph> {
  const form = formOf(matrix);
  const node = graph.nodes.find(({ outputs }) => outputs[0] === matrix.node.outputs[0]);
  if (form === null || node === undefined || !isFloat(type)) throw missing(matrix.parameter);
  if (amount.every((n) => n === 0)) return graph;
  const place = placeOf(graph, matrix, amount.length);
  const ref = place === null ? undefined : graph.constants.get(place.name);
  if (place !== null && ref !== undefined && isFloat(ref.dtype)) {
    const values = Float64Array.from(toFloat64(await load(ref)), (n, i) => n + place.sign * (amount[i] ?? 0));
    return withConstant(graph, place.name, fromFloats(ref.dtype, ref.shape, values));
  }
  const draft = edit(graph);
  const label = `${matrix.parameter}_bias`;
  if (form.bias !== null && (node.inputs[form.bias] ?? "") === "") {
    draft.setInput(node, form.bias, draft.constant(fromFloats(type, [amount.length], amount), label));
    return draft.finish();
  }
  const trailing = given.length - 1 - form.outputAxis(given.length);
  const shape = [amount.length, ...Array<number>(trailing).fill(1)];
  const value = node.outputs[0] ?? "";
  draft.replaceUses(
    value,
    draft.op(
      "Add",
      [value, draft.constant(fromFloats(type, shape, amount), label)],
      {},
      draft.fresh(`${value}_shifted`),
    ),
  );
  return draft.finish();
}

function missing(parameter: string): EspalierError {
  return new EspalierError("model", parameter, "expected a float parameter of this graph, got none.");
}
