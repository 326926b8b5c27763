import type { Attribute, Graph, Node } from "../graph/graph.ts";
import { isFloat } from "../tensor/dtype.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import { load, type Shape, sizeOf, type TensorRef } from "../tensor/tensor.ts";

/** Whole numbers that constants decide, with the bits that they wrap at. */
export interface Integers {
  readonly bits: 32 | 64;
  readonly values: readonly bigint[];
  readonly shape: Shape;
}

/** What can be said of a value before anything runs; undefined where that needs inputs. */
export interface ConstantValues {
  integers(name: string): Promise<Integers | undefined>;
  /** Shape of a value that constants alone decide. */
  shape(name: string): Promise<Shape | undefined>;
}

/** Lists of sizes are short; longer constants are weights. */
const maxValues = 64;
const maxDepth = 64;

/** Evaluates the integer chains of a graph exactly, wrapping as the runtime does. `outer` is the graph around. */
export function constantValues(graph: Graph, outer?: ConstantValues): ConstantValues {
  const producers = new Map<string, Node>();
  for (const node of graph.nodes) for (const name of node.outputs) producers.set(name, node);
  const fed = new Set(graph.inputs.map(({ name }) => name));
  const known = new Map<string, Promise<Integers | undefined>>();
  const shapes = new Map<string, Promise<Shape | undefined>>();

  function integers(name: string, depth: number): Promise<Integers | undefined> {
    if (name === "" || depth > maxDepth) return Promise.resolve(undefined);
    const found = known.get(name) ?? integersOf(name, depth);
    known.set(name, found);
    return found;
  }

  async function integersOf(name: string, depth: number): Promise<Integers | undefined> {
    const ref = graph.constants.get(name);
    if (ref !== undefined) return stored(ref);
    const node = producers.get(name);
    if (node === undefined) return fed.has(name) ? undefined : outer?.integers(name);
    if (node.domain !== "" || node.outputs[0] !== name) return undefined;
    const compute = operators.get(node.op);
    if (compute === undefined) return undefined;
    const inputs: Integers[] = [];
    for (const input of node.inputs) {
      const value = await integers(input, depth + 1);
      if (value === undefined) return undefined;
      inputs.push(value);
    }
    const result = compute(inputs, node.attributes);
    return result === undefined || result.values.length > maxValues ? undefined : result;
  }

  function shape(name: string, depth: number): Promise<Shape | undefined> {
    if (name === "" || depth > maxDepth) return Promise.resolve(undefined);
    const found = shapes.get(name) ?? shapeOf(name, depth);
    shapes.set(name, found);
    return found;
  }

  async function shapeOf(name: string, depth: number): Promise<Shape | undefined> {
    const ref = graph.constants.get(name);
    if (ref !== undefined) return ref.shape;
    const node = producers.get(name);
    if (node === undefined) return fed.has(name) ? undefined : outer?.shape(name);
    if (node.domain !== "" || node.outputs[0] !== name) return undefined;
    if (node.op === "ConstantOfShape") return sizesOf(await integers(node.inputs[0] ?? "", depth + 1));
    const first = await shape(node.inputs[0] ?? "", depth + 1);
    if (first === undefined || sameShape.has(node.op)) return first;
    if (node.op === "Expand") {
      const target = sizesOf(await integers(node.inputs[1] ?? "", depth + 1));
      return target === undefined ? undefined : broadcast(first, target);
    }
    if (node.op === "Tile") {
      const repeats = sizesOf(await integers(node.inputs[1] ?? "", depth + 1));
      return repeats === undefined ? undefined : first.map((n, i) => n * (repeats[i] ?? 1));
    }
    const second = await shape(node.inputs[1] ?? "", depth + 1);
    if (second === undefined) return undefined;
    if (node.op === "MatMul") return product(first, second);
    return broadcasting.has(node.op) ? broadcast(first, second) : undefined;
  }

  return { integers: (name) => integers(name, 0), shape: (name) => shape(name, 0) };
}

async function stored(ref: TensorRef): Promise<Integers | undefined> {
  const size = sizeOf(ref.shape);
  if (size > maxValues) return undefined;
  if (ref.dtype === "i64" || ref.dtype === "i32") {
    const { bytes } = await load(ref);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const step = ref.dtype === "i64" ? 8 : 4;
    const values: bigint[] = [];
    for (let at = 0; at + step <= bytes.byteLength; at += step) {
      values.push(step === 8 ? view.getBigInt64(at, true) : BigInt(view.getInt32(at, true)));
    }
    return { bits: step === 8 ? 64 : 32, values, shape: ref.shape };
  }
  if (!isFloat(ref.dtype)) return undefined;
  const values = [...toFloat64(await load(ref))].map((value) =>
    Math.abs(value) < 2 ** 63 ? BigInt(Math.trunc(value)) : -(2n ** 63n),
  );
  return { bits: 64, values, shape: ref.shape };
}

function sizesOf(found: Integers | undefined): Shape | undefined {
  return found?.values.map((value) => Math.abs(Number(value)));
}

type Attributes = ReadonlyMap<string, Attribute>;
type Compute = (inputs: readonly Integers[], attributes: Attributes) => Integers | undefined;

function wrap(bits: 32 | 64, value: bigint): bigint {
  return BigInt.asIntN(bits, value);
}

/** Element by element; lists of one length, or one of them a single number. Other broadcasts are left open. */
function pairwise(compute: (a: bigint, b: bigint) => bigint | undefined): Compute {
  return ([a, b]) => {
    if (a === undefined || b === undefined) return undefined;
    const length = Math.max(a.values.length, b.values.length);
    if (![a, b].every(({ values }) => values.length === 1 || values.length === length)) return undefined;
    const values: bigint[] = [];
    for (let i = 0; i < length; i++) {
      const x = a.values[a.values.length === 1 ? 0 : i];
      const y = b.values[b.values.length === 1 ? 0 : i];
      const value = x === undefined || y === undefined ? undefined : compute(x, y);
      if (value === undefined) return undefined;
      values.push(wrap(a.bits, value));
    }
    return { bits: a.bits, values, shape: a.values.length === length ? a.shape : b.shape };
  };
}

function each(compute: (a: bigint) => bigint): Compute {
  return ([a]) =>
    a === undefined ? undefined : { ...a, values: a.values.map((value) => wrap(a.bits, compute(value))) };
}

const listed: Compute = ([a]) => (a === undefined ? undefined : { ...a, shape: [a.values.length] });

function reduced(compute: (a: bigint, b: bigint) => bigint, start: bigint): Compute {
  return ([a]) =>
    a === undefined || a.shape.length > 1
      ? undefined
      : { bits: a.bits, values: [wrap(a.bits, a.values.reduce(compute, start))], shape: [1] };
}

const gather: Compute = ([data, indices]) => {
  if (data === undefined || indices === undefined || data.shape.length !== 1) return undefined;
  const values: bigint[] = [];
  for (const index of indices.values) {
    const value = data.values[Number(index < 0n ? index + BigInt(data.values.length) : index)];
    if (value === undefined) return undefined;
    values.push(value);
  }
  return { bits: data.bits, values, shape: indices.shape };
};

/** `to` 6 is i32, 7 is i64; casts to other types leave the numbers what they are. */
const cast: Compute = ([a], attributes) => {
  const to = attributes.get("to");
  if (a === undefined || to?.kind !== "int") return undefined;
  const bits = to.value === 6 ? 32 : 64;
  return { bits, values: a.values.map((value) => wrap(bits, value)), shape: a.shape };
};

const power = (a: bigint, b: bigint): bigint | undefined => (b < 0n || b > 64n ? undefined : a ** b);

function larger(a: bigint, b: bigint): bigint {
  return [a, b].sort((x, y) => Number(y > x) - Number(x > y))[0] ?? a;
}

const operators: ReadonlyMap<string, Compute> = new Map<string, Compute>([
  ["Add", pairwise((a, b) => a + b)],
  ["Sub", pairwise((a, b) => a - b)],
  ["Mul", pairwise((a, b) => a * b)],
  ["Div", pairwise((a, b) => (b === 0n ? undefined : a / b))],
  ["Mod", pairwise((a, b) => (b === 0n ? undefined : a % b))],
  ["Max", pairwise(larger)],
  ["Min", pairwise((a, b) => -larger(-a, -b))],
  ["Pow", pairwise(power)],
  ["BitShift", pairwise((a, b) => (b < 0n || b > 63n ? undefined : a << b))],
  ["Neg", each((a) => -a)],
  ["Abs", each((a) => (a < 0n ? -a : a))],
  ["Not", each((a) => ~a)],
  ["Cast", cast],
  ["Identity", ([a]) => a],
  ["Unsqueeze", listed],
  ["Squeeze", listed],
  ["Reshape", listed],
  ["Flatten", listed],
  ["ReduceProd", reduced((a, b) => a * b, 1n)],
  ["ReduceSum", reduced((a, b) => a + b, 0n)],
  ["Gather", gather],
  [
    "Concat",
    (inputs) => {
      const values = inputs.flatMap((input) => input.values);
      return { bits: inputs[0]?.bits ?? 64, values, shape: [values.length] };
    },
  ],
]);

/** Operators that list numbers from a start to a limit in steps: inputs 0, 1 and 2. */
export const progressions: ReadonlySet<string> = new Set(["Range"]);

/** Operators that divide whole numbers, which stops a process where the divisor is zero. */
export const quotients: ReadonlySet<string> = new Set(["Div", "Mod"]);

/** Operators that give the shape of their first input. */
const sameShape: ReadonlySet<string> = new Set(
  "Identity Cast Relu Sigmoid Tanh Neg Abs Exp Log Sqrt Floor Ceil Round Not Softmax Erf Sign Reciprocal".split(" "),
);
const broadcasting: ReadonlySet<string> = new Set(
  "Add Sub Mul Div Mod Pow Max Min And Or Xor Equal Greater Less GreaterOrEqual LessOrEqual PRelu BitShift Where".split(
    " ",
  ),
);

function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i) => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    return x === 1 ? y : x;
  });
}

function product(a: Shape, b: Shape): Shape | undefined {
  if (a.length < 2 || b.length < 2) return undefined;
  return [...broadcast(a.slice(0, -2), b.slice(0, -2)), a.at(-2) ?? 1, b.at(-1) ?? 1];
}
