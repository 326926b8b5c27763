import { gradient } from "../../src/autodiff/gradient.ts";
import { sized } from "../../src/autodiff/sized.ts";
import { type Algebra, algebra, type SizedGraph, type Value } from "../../src/graph/algebra/algebra.ts";
import type { Attributes } from "../../src/graph/attributes.ts";
import { builder } from "../../src/graph/builder.ts";
import type { Graph, TensorType } from "../../src/graph/graph.ts";
import { removeDeadCode } from "../../src/graph/passes/dead-code.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { fromFloats, fromInts, toFloat64 } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { type HostTensor, sizeOf } from "../../src/tensor/tensor.ts";

/** A float operand that is differentiated: its shape, and the range of its values (default: away from 0, both signs). */
export interface Wanted {
  readonly shape: readonly number[];
  readonly range?: readonly [low: number, high: number];
  /** Different values, far enough apart that no step of a difference changes their order. */
  readonly distinct?: boolean;
  /** These values instead of random ones. */
  readonly values?: readonly number[];
}

/** An operand that is not: given integers, bools or floats. */
interface Integers {
  readonly ints: readonly number[];
  readonly shape?: readonly number[];
  readonly dtype?: "i64" | "i32" | "i8" | "bool";
  /** Comes in while the graph runs, so that nothing can be known of it before. */
  readonly feed?: boolean;
}

type Given = Integers | { readonly floats: readonly number[]; readonly shape?: readonly number[] };

/** One node in one form. */
export interface GradientCase {
  /** Operator, with its domain before "::" outside ai.onnx. */
  readonly op: string;
  readonly form?: string;
  /** Null: absent. */
  readonly inputs: readonly (Wanted | Given | null)[];
  readonly attributes?: Attributes;
  readonly opset?: number;
  readonly outputs?: number;
  /** Outputs that the loss reads; default: the first. */
  readonly read?: readonly number[];
  /** f32 where the CPU provider has no f64 form: then directions are compared, to 1e-2. */
  readonly dtype?: "f32";
  /** Why second derivatives are not compared. */
  readonly firstOnly?: string;
}

/** How far analytic and numeric derivatives lie apart, relative to the larger of their norms. */
export interface Difference {
  readonly first: number;
  /** Null where only first derivatives were asked for. */
  readonly second: number | null;
}

function isWanted(operand: Wanted | Given): operand is Wanted {
  return !("ints" in operand) && !("floats" in operand);
}

function valuesOf(
  { shape, range, distinct = false, values: given }: Wanted,
  seed: number,
  index: number,
): Float64Array {
  if (given !== undefined) return Float64Array.from(given);
  const values = new Float64Array(sizeOf(shape));
  const source = random(seed, "operand", index);
  const [low, high] = range ?? [0.3, 1.7];
  source.fillUniform(values, low, high);
  if (distinct) {
    const order = source.permutation(values.length);
    for (let i = 0; i < values.length; i++) {
      values[i] = low + ((high - low) * ((order[i] ?? 0) + 0.5)) / values.length;
    }
  }
  if (range === undefined)
    for (let i = 0; i < values.length; i++) if (source.uniform() < 0.5) values[i] = -(values[i] ?? 0);
  return values;
}

function integers({ ints, dtype = "i64", shape = [ints.length] }: Integers): HostTensor {
  if (dtype === "i8") return { dtype, shape, bytes: new Uint8Array(Int8Array.from(ints).buffer) };
  return fromInts(dtype, shape, ints);
}

/** The sum of the read outputs, each element with a random weight of its own. */
function weighed(g: Algebra, values: readonly Value[], dtype: "f32" | "f64", seed: number): Value {
  return g.total(
    values.map((value, i) => {
      const weights = new Float64Array(sizeOf(value.shape));
      random(seed, "weights", i).fillUniform(weights, 0.5, 1.5);
      return g.sum(g.mul(g.cast(value, dtype), g.constant(fromFloats(dtype, value.shape, weights))));
    }),
  );
}

/** The graph with one scalar output. */
function scalarOf(sizedGraph: SizedGraph, output: Value): Graph {
  return removeDeadCode({
    ...sizedGraph.graph,
    outputs: [{ name: output.name, dtype: output.dtype, dims: output.shape }],
    valueInfo: new Map(),
  });
}

const asItIs = (_: Algebra, value: Value): Value => value;

/** Where derivatives are taken: the operands that are differentiated, by name. */
type Points = ReadonlyMap<string, { readonly type: TensorType; readonly values: Float64Array }>;

/** A case as a graph of one node, its random operands as inputs. */
export function graphOf(
  one: GradientCase,
  seed: number,
): { readonly graph: Graph; readonly points: Points; readonly fed: ReadonlyMap<string, HostTensor> } {
  const dtype = one.dtype ?? "f64";
  const draft = builder(
    "case",
    new Map([
      ["", one.opset ?? 21],
      ["com.microsoft", 1],
    ]),
  );
  const points = new Map<string, { readonly type: TensorType; readonly values: Float64Array }>();
  const fed = new Map<string, HostTensor>();
  const names = one.inputs.map((operand, index) => {
    if (operand === null) return "";
    if (isWanted(operand)) {
      const name = draft.input(`x${index}`, dtype, operand.shape);
      points.set(name, { type: { dtype, shape: operand.shape }, values: valuesOf(operand, seed, index) });
      return name;
    }
    if ("floats" in operand) {
      return draft.constant(
        fromFloats(dtype, operand.shape ?? [operand.floats.length], Float64Array.from(operand.floats)),
      );
    }
    const tensor = integers(operand);
    if (operand.feed !== true) return draft.constant(tensor);
    fed.set(`x${index}`, tensor);
    return draft.input(`x${index}`, tensor.dtype, tensor.shape);
  });
  const outputs = Array.from({ length: one.outputs ?? 1 }, (_, i) => draft.fresh(`y${i}`));
  draft.op(one.op, names, one.attributes ?? {}, outputs);
  for (const i of one.read ?? [0]) draft.output(outputs[i] ?? "", dtype);
  return { graph: draft.finish(), points, fed };
}

/** Compares a case's derivatives with central differences. `plant` lets a test falsify the gradients first. */
export async function differenceOf(
  runtime: Runtime,
  one: GradientCase,
  { seed = 1, plant = asItIs } = {},
): Promise<Difference> {
  const dtype = one.dtype ?? "f64";
  const { graph, points, fed } = graphOf(one, seed);
  const types = new Map<string, TensorType>([...points].map(([name, { type }]) => [name, type]));
  for (const [name, { dtype, shape }] of fed) types.set(name, { dtype, shape });
  const base = await sized(graph, runtime, types);

  const g = algebra(base);
  const loss = weighed(
    g,
    graph.outputs.map(({ name }) => g.of(name)),
    dtype,
    seed,
  );
  const gradients = [...gradient(g, loss, points.keys()).values()].map((value) => plant(g, value));
  const again = one.firstOnly === undefined ? g.total([loss, weighed(g, gradients, dtype, seed + 1)]) : null;
  const seconds = again === null ? [] : [...gradient(g, again, points.keys()).values()].map((value) => plant(g, value));
  const written = g.finish();
  const first = await compare(runtime, written, loss, gradients, points, fed, dtype, seed);
  const second = again === null ? null : await compare(runtime, written, again, seconds, points, fed, dtype, seed);
  return { first, second };
}

async function compare(
  runtime: Runtime,
  written: SizedGraph,
  loss: Value,
  gradients: readonly Value[],
  points: Points,
  fed: ReadonlyMap<string, HostTensor>,
  dtype: "f32" | "f64",
  seed: number,
): Promise<number> {
  const asking = {
    ...written.graph,
    outputs: gradients.map(({ name }) => ({ name, dtype: null })),
    valueInfo: new Map(),
  };
  const analytic = await runtime.compile(removeDeadCode(asking));
  const scalar = await runtime.compile(scalarOf(written, loss));
  const inputs = [...points.keys()];
  const feeds = (at: readonly Float64Array[]): Map<string, HostTensor> =>
    new Map([
      ...fed,
      ...inputs.map(
        (name, i) =>
          [name, fromFloats(dtype, points.get(name)?.type.shape ?? [], at[i] ?? new Float64Array())] as const,
      ),
    ]);
  try {
    const here = [...points.values()].map(({ values }) => values);
    const found = await analytic.run(feeds(here));
    const exact = gradients.map(({ name }) => toFloat64(found.get(name) ?? fromFloats(dtype, [], new Float64Array(1))));
    const at = async (direction: readonly Float64Array[], step: number): Promise<number> => {
      const moved = here.map((values, i) => values.map((value, j) => value + step * (direction[i]?.[j] ?? 0)));
      const result = [...(await scalar.run(feeds(moved))).values()][0];
      return result === undefined ? Number.NaN : (toFloat64(result)[0] ?? Number.NaN);
    };
    let [error, size] = [0, 1e-12];
    const step = dtype === "f64" ? 1e-5 : 1e-2;
    for (const direction of directionsOf(here, dtype, seed)) {
      const numeric = ((await at(direction, step)) - (await at(direction, -step))) / (2 * step);
      const along = direction.reduce(
        (sum, part, i) => sum + part.reduce((s, d, j) => s + d * (exact[i]?.[j] ?? Number.NaN), 0),
        0,
      );
      error += (numeric - along) ** 2;
      size += Math.max(numeric ** 2, along ** 2);
    }
    return Math.sqrt(error / size);
  } finally {
    await analytic.release();
    await scalar.release();
  }
}

/** Every coordinate in f64; in f32, where differences are coarse, and for large operands, random directions. */
function* directionsOf(here: readonly Float64Array[], dtype: "f32" | "f64", seed: number): Iterable<Float64Array[]> {
  const total = here.reduce((sum, { length }) => sum + length, 0);
  const zeros = (): Float64Array[] => here.map(({ length }) => new Float64Array(length));
  if (dtype === "f64" && total <= 64) {
    for (const [i, { length }] of here.entries()) {
      for (let j = 0; j < length; j++) {
        const direction = zeros();
        const part = direction[i];
        if (part !== undefined) part[j] = 1;
        yield direction;
      }
    }
    return;
  }
  for (let k = 0; k < 12; k++) {
    const direction = zeros();
    for (const [i, part] of direction.entries())
      random(seed, "direction", k, i).fillNormal(part, 0, 1 / Math.sqrt(total));
    yield direction;
  }
}
