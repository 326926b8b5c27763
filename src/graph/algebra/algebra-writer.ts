import { type DType, onnxNumberOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, fromInts } from "../../tensor/numeric.ts";
import { type HostTensor, type Shape, sameShape, sizeOf } from "../../tensor/tensor.ts";
import { type Attributes, int, ints as intList } from "../attributes.ts";
import type { Draft } from "../draft.ts";
import { edit } from "../edit.ts";
import type { Graph, TensorType } from "../graph.ts";
import type { Types } from "../subgraph.ts";
import type { Algebra, Operand, Range, SizedGraph, Value } from "./algebra.ts";
import { broadcastShapes, misfit } from "./broadcast.ts";

/** The algebra over a draft: what is written lands there, and the types of all values are kept beside it. */
export class AlgebraWriter implements Algebra {
  readonly draft: Draft;
  readonly #opsets: Graph["opsets"];
  readonly #types: Map<string, TensorType>;
  readonly #values: Map<string, HostTensor>;
  readonly #stopped: Set<string>;
  readonly #scalars = new Map<string, Value>();

  constructor(graph: Graph, types: Types, values: ReadonlyMap<string, HostTensor>, stopped: ReadonlySet<string>) {
    this.draft = edit(graph);
    this.#opsets = graph.opsets;
    this.#types = new Map(types);
    for (const [name, { dtype, shape }] of graph.constants) this.#types.set(name, { dtype, shape });
    this.#values = new Map(values);
    this.#stopped = new Set(stopped);
  }

  of(name: string): Value {
    const type = this.#types.get(name);
    if (type !== undefined) return { name, dtype: type.dtype, shape: type.shape };
    throw new EspalierError("model", `value "${name}"`, "expected a value whose type is known, got none.");
  }

  has(name: string): boolean {
    return this.#types.has(name);
  }

  known(name: string): HostTensor | undefined {
    return this.#values.get(name);
  }

  opset(domain: string): number {
    return this.#opsets.get(domain) ?? 0;
  }

  stop(x: Value): Value {
    const still = this.map("Identity", x);
    this.#stopped.add(still.name);
    return still;
  }

  stopped(name: string): boolean {
    return this.#stopped.has(name);
  }

  straightThrough(hard: Value, soft: Value): Value {
    // The difference is exactly zero, so that the sum is exactly `hard`.
    return this.add(this.stop(hard), this.sub(soft, this.stop(soft)));
  }

  add(a: Operand, b: Operand): Value {
    if (a === 0 && typeof b !== "number") return b;
    if (b === 0 && typeof a !== "number") return a;
    return this.#binary("Add", a, b);
  }

  sub(a: Operand, b: Operand): Value {
    if (b === 0 && typeof a !== "number") return a;
    return this.#binary("Sub", a, b);
  }

  mul(a: Operand, b: Operand): Value {
    if (a === 1 && typeof b !== "number") return b;
    if (b === 1 && typeof a !== "number") return a;
    return this.#binary("Mul", a, b);
  }

  div(a: Operand, b: Operand): Value {
    if (b === 1 && typeof a !== "number") return a;
    return this.#binary("Div", a, b);
  }

  pow(a: Operand, b: Operand): Value {
    if (b === 1 && typeof a !== "number") return a;
    return this.#binary("Pow", a, b);
  }

  max(a: Operand, b: Operand): Value {
    return this.#binary("Max", a, b);
  }

  min(a: Operand, b: Operand): Value {
    return this.#binary("Min", a, b);
  }

  total(values: readonly Value[]): Value {
    const [first, ...rest] = values;
    if (first === undefined) throw new EspalierError("shape", "total", "expected at least one value, got none.");
    return rest.reduce((sum, value) => this.add(sum, value), first);
  }

  equal(a: Operand, b: Operand): Value {
    return this.#binary("Equal", a, b, "bool");
  }

  less(a: Operand, b: Operand): Value {
    return this.#binary("Less", a, b, "bool");
  }

  greater(a: Operand, b: Operand): Value {
    return this.#binary("Greater", a, b, "bool");
  }

  where(condition: Value, a: Operand, b: Operand): Value {
    const [x, y] = this.#pair(a, b);
    const shape = broadcastShapes("Where", broadcastShapes("Where", x.shape, y.shape), condition.shape);
    return this.op("Where", [condition, x, y], {}, { dtype: x.dtype, shape });
  }

  map(op: string, x: Value, attributes: Attributes = {}): Value {
    return this.op(op, [x], attributes, x);
  }

  neg(x: Value): Value {
    return this.map("Neg", x);
  }

  exp(x: Value): Value {
    return this.map("Exp", x);
  }

  log(x: Value): Value {
    return this.map("Log", x);
  }

  sqrt(x: Value): Value {
    return this.map("Sqrt", x);
  }

  tanh(x: Value): Value {
    return this.map("Tanh", x);
  }

  sigmoid(x: Value): Value {
    return this.map("Sigmoid", x);
  }

  square(x: Value): Value {
    return this.mul(x, x);
  }

  cast(x: Value, dtype: DType): Value {
    if (x.dtype === dtype) return x;
    return this.op("Cast", [x], { to: int(onnxNumberOf(dtype)) }, { dtype, shape: x.shape });
  }

  sum(x: Value, axes?: readonly number[], keep = false): Value {
    return this.#fold("ReduceSum", x, axes, keep);
  }

  mean(x: Value, axes?: readonly number[], keep = false): Value {
    return this.#fold("ReduceMean", x, axes, keep);
  }

  reduce(op: string, x: Value, axes: readonly number[] = x.shape.map((_, i) => i), keep = false): Value {
    const over = new Set(axes.map((axis) => (axis < 0 ? axis + x.shape.length : axis)));
    const shape = keep ? x.shape.map((n, i) => (over.has(i) ? 1 : n)) : x.shape.filter((_, i) => !over.has(i));
    if (over.size === 0) return x;
    const list = this.int64([...over].sort((a, b) => a - b));
    return this.op(op, [x, list], { keepdims: int(keep ? 1 : 0) }, { dtype: x.dtype, shape });
  }

  sumTo(x: Value, shape: Shape): Value {
    const extra = x.shape.length - shape.length;
    const axes: number[] = [];
    for (const [i, n] of x.shape.entries()) if (i < extra || (shape[i - extra] === 1 && n !== 1)) axes.push(i);
    return this.reshape(this.sum(x, axes, true), shape);
  }

  matMul(a: Value, b: Value): Value {
    const [m = 0, k] = a.shape.slice(-2);
    const [l, n = 0] = b.shape.slice(-2);
    if (a.shape.length < 2 || b.shape.length < 2 || k !== l) throw misfit("MatMul", [a.shape, b.shape]);
    const batch = broadcastShapes("MatMul", a.shape.slice(0, -2), b.shape.slice(0, -2));
    return this.op("MatMul", [a, b], {}, { dtype: a.dtype, shape: [...batch, m, n] });
  }

  reshape(x: Value, shape: Shape): Value {
    if (sameShape(x.shape, shape)) return x;
    if (sizeOf(x.shape) !== sizeOf(shape)) throw misfit("Reshape", [x.shape, shape]);
    return this.op("Reshape", [x, this.int64(shape)], {}, { dtype: x.dtype, shape });
  }

  transpose(x: Value, order: readonly number[]): Value {
    if (order.every((axis, i) => axis === i)) return x;
    const shape = order.map((axis) => x.shape[axis] ?? 1);
    if (new Set(order).size !== x.shape.length) throw misfit("Transpose", [x.shape, order]);
    return this.op("Transpose", [x], { perm: intList(order) }, { dtype: x.dtype, shape });
  }

  swapLast(x: Value): Value {
    const rank = x.shape.length;
    if (rank < 2) throw misfit("Transpose", [x.shape]);
    return this.transpose(x, [...Array.from({ length: rank - 2 }, (_, i) => i), rank - 1, rank - 2]);
  }

  expand(x: Operand, shape: Shape, dtype?: DType): Value {
    const value = typeof x === "number" ? this.scalar(x, dtype) : x;
    if (sameShape(value.shape, shape)) return value;
    if (!sameShape(broadcastShapes("Expand", value.shape, shape), shape)) throw misfit("Expand", [value.shape, shape]);
    return this.op("Expand", [value, this.int64(shape)], {}, { dtype: value.dtype, shape });
  }

  concat(parts: readonly Value[], axis: number): Value {
    const [first, ...rest] = parts;
    if (first === undefined) throw new EspalierError("shape", "Concat", "expected at least one part, got none.");
    if (rest.length === 0) return first;
    const size = parts.reduce((sum, { shape }) => sum + (shape[axis] ?? 0), 0);
    const shape = first.shape.map((n, i) => (i === axis ? size : n));
    return this.op("Concat", parts, { axis: int(axis) }, { dtype: first.dtype, shape });
  }

  slice(x: Value, axis: number, start: number, end: number, step = 1): Value {
    return this.cut(x, [{ axis, start, end, step }]);
  }

  cut(x: Value, ranges: readonly Range[]): Value {
    const real = ranges.filter(({ axis, start, end, step }) => start > 0 || end < (x.shape[axis] ?? 0) || step !== 1);
    if (real.length === 0) return x;
    const counts = new Map(real.map((r) => [r.axis, Math.max(0, Math.ceil((r.end - r.start) / r.step))]));
    const shape = x.shape.map((n, i) => counts.get(i) ?? n);
    // Going backwards past position 0 has no number of its own: the runtime clamps a very small one.
    const ends = real.map(({ end, step }) => (step < 0 && end < 0 ? -(2 ** 31) : end));
    const bounds = [real.map((r) => r.start), ends, real.map((r) => r.axis), real.map((r) => r.step)];
    return this.op("Slice", [x, ...bounds.map((list) => this.int64(list))], {}, { dtype: x.dtype, shape });
  }

  pad(x: Value, before: readonly number[], after: readonly number[], fill = 0): Value {
    if ([...before, ...after].every((n) => n === 0)) return x;
    const shape = x.shape.map((n, i) => n + (before[i] ?? 0) + (after[i] ?? 0));
    const value = fill === 0 ? [] : [this.scalar(fill, x.dtype)];
    return this.op("Pad", [x, this.int64([...before, ...after]), ...value], {}, { dtype: x.dtype, shape });
  }

  gather(x: Value, indices: Value, axis: number): Value {
    const shape = [...x.shape.slice(0, axis), ...indices.shape, ...x.shape.slice(axis + 1)];
    return this.op("Gather", [x, indices], { axis: int(axis) }, { dtype: x.dtype, shape });
  }

  scalar(value: number, dtype: DType = "f32"): Value {
    const key = `${dtype} ${Object.is(value, -0) ? "-0" : value}`;
    const found = this.#scalars.get(key);
    if (found !== undefined) return found;
    const made = this.constant(scalarTensor(value, dtype), "scalar");
    this.#scalars.set(key, made);
    return made;
  }

  int64(values: readonly number[], shape: Shape = [values.length]): Value {
    const key = `i64 ${shape.join("x")} ${values.join(" ")}`;
    const found = this.#scalars.get(key);
    if (found !== undefined) return found;
    const made = this.constant(fromInts("i64", shape, values), "ints");
    this.#scalars.set(key, made);
    return made;
  }

  constant(tensor: HostTensor, name = "constant"): Value {
    const made = this.declare(this.draft.constant(tensor, name), tensor);
    if (sizeOf(tensor.shape) <= mostKnown) this.#values.set(made.name, tensor);
    return made;
  }

  input(name: string, dtype: DType, shape: Shape): Value {
    return this.declare(this.draft.input(name, dtype, shape), { dtype, shape });
  }

  op(op: string, inputs: readonly (Value | null)[], attributes: Attributes, type: TensorType): Value {
    return this.declare(this.draft.op(op, namesOf(inputs), attributes), type);
  }

  ops(
    op: string,
    inputs: readonly (Value | null)[],
    attributes: Attributes,
    types: readonly TensorType[],
  ): readonly Value[] {
    const short = op.slice(op.lastIndexOf(":") + 1);
    const names = types.map(() => this.draft.fresh(short));
    this.draft.op(op, namesOf(inputs), attributes, names);
    return types.map((type, i) => this.declare(names[i] ?? "", type));
  }

  declare(name: string, { dtype, shape }: TensorType): Value {
    this.#types.set(name, { dtype, shape });
    return { name, dtype, shape };
  }

  finish(): SizedGraph {
    return {
      graph: this.draft.finish(),
      types: new Map(this.#types),
      values: new Map(this.#values),
      stopped: new Set(this.#stopped),
    };
  }

  /** A sum or mean: over an axis of one position it changes nothing, and the runtime would take a pass for it. */
  #fold(op: string, x: Value, axes: readonly number[] = x.shape.map((_, i) => i), keep: boolean): Value {
    const rank = x.shape.length;
    const over = new Set(axes.map((axis) => (axis < 0 ? axis + rank : axis)));
    const long = [...over].filter((axis) => x.shape[axis] !== 1);
    if (long.length === over.size) return this.reduce(op, x, axes, keep);
    const shape = keep ? x.shape.map((n, i) => (over.has(i) ? 1 : n)) : x.shape.filter((_, i) => !over.has(i));
    return this.reshape(this.reduce(op, x, long, true), shape);
  }

  #binary(op: string, a: Operand, b: Operand, dtype?: DType): Value {
    const [x, y] = this.#pair(a, b);
    if (x.dtype !== y.dtype) {
      throw new EspalierError("shape", op, `expected operands of one type, got ${x.dtype} and ${y.dtype}.`);
    }
    const shape = broadcastShapes(op, x.shape, y.shape);
    return this.op(op, [x, y], {}, { dtype: dtype ?? x.dtype, shape });
  }

  #pair(a: Operand, b: Operand): readonly [Value, Value] {
    if (typeof a === "number") {
      const y = typeof b === "number" ? this.scalar(b) : b;
      return [this.scalar(a, y.dtype), y];
    }
    return [a, typeof b === "number" ? this.scalar(b, a.dtype) : b];
  }
}

/** Elements up to which constants are remembered as known values. */
const mostKnown = 65_536;

function namesOf(inputs: readonly (Value | null)[]): string[] {
  const names = inputs.map((input) => input?.name ?? "");
  while (names.at(-1) === "") names.pop();
  return names;
}

function scalarTensor(value: number, dtype: DType): HostTensor {
  switch (dtype) {
    case "f32":
    case "f64":
    case "f16":
    case "bf16":
      return fromFloats(dtype, [], Float64Array.of(value));
    case "i64":
    case "i32":
    case "bool":
      return fromInts(dtype, [], [value]);
    default:
      throw new EspalierError("shape", "scalar", `expected a float, i64, i32 or bool, got ${dtype}.`);
  }
}
