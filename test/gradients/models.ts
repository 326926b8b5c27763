import { gradient } from "../../src/autodiff/gradient.ts";
import { composeAll } from "../../src/autodiff/lower.ts";
import { sized } from "../../src/autodiff/sized.ts";
import { trainingMode } from "../../src/autodiff/training-mode.ts";
import { algebra } from "../../src/graph/algebra/algebra.ts";
import type { Graph, TensorType } from "../../src/graph/graph.ts";
import { removeDeadCode } from "../../src/graph/passes/dead-code.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { type ByteSource, type HostTensor, sizeOf } from "../../src/tensor/tensor.ts";
import { openSkeletons } from "../fixtures/skeletons.ts";

/** What PyTorch found of one tensor: projections of its float64 version, and how far its float32 version lies from it. */
interface Kept {
  readonly norm: number;
  readonly error: number;
  readonly projections: readonly number[];
}

/** Parameters by name, and running statistics after a step in training. */
interface Reference {
  readonly parameters: Readonly<Record<string, Kept>>;
  readonly statistics?: Readonly<Record<string, Kept>>;
}

interface Entry {
  /** Name, shape, and the bound of integers (1: all are 1); null for numbers. */
  readonly inputs: readonly (readonly [string, readonly number[], number | null])[];
  /** Salt, offset and scale of each weight. */
  readonly numbers: Readonly<Record<string, readonly [number, number, number]>>;
  readonly evaluating: Reference;
  readonly training?: Reference;
}

/**
 * One parameter of a model: both errors are relative to the norm of PyTorch's float64 gradient. Where that is zero but
 * for rounding, so that float32 has no digit of it (a bias in front of a norm, say), they are relative to the largest
 * norm of the model's gradients.
 */
export interface Comparison {
  readonly name: string;
  readonly error: number;
  /** PyTorch's own in float32. */
  readonly torch: number;
}

export type Mode = "evaluating" | "training";

/** Numbers of the exporting script (test/export/gradients.py), which has the same constants. */
const lossSalt = 1 << 20;
const signSalt = 1 << 21;

/** 32 well-mixed bits of a position: the last steps of MurmurHash3. */
function mixed(position: number, salt: number): number {
  let h = (position + Math.imul(salt, 0x9e3779b9)) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Uniform numbers in offset ± scale, from the position `first` on. */
function numbers(count: number, salt: number, offset: number, scale: number, first = 0): Float32Array {
  const values = new Float32Array(count);
  for (let i = 0; i < count; i++) values[i] = offset + scale * ((mixed(first + i, salt) >>> 8) / 2 ** 23 - 1);
  return values;
}

/** Sums of the elements with eight sets of seeded signs. */
function projections(values: Float32Array): Float64Array {
  const sums = new Float64Array(8);
  for (let i = 0; i < values.length; i++) {
    const bits = mixed(i, signSalt);
    const value = values[i] ?? 0;
    for (let k = 0; k < 8; k++) sums[k] = (sums[k] ?? 0) + (((bits >>> k) & 1) === 1 ? -value : value);
  }
  return sums;
}

const skeletons = openSkeletons(new URL("../fixtures/gradients.br", import.meta.url));
const entries: ReadonlyMap<string, Entry> = new Map(Object.entries(JSON.parse(skeletons.text("reference.json"))));

/** Every model with the modes that PyTorch differentiated it in. */
export const differentiated: readonly (readonly [name: string, mode: Mode])[] = [...entries].flatMap(([name, entry]) =>
  entry.training === undefined
    ? [[name, "evaluating"] as const]
    : [[name, "evaluating"] as const, [name, "training"] as const],
);

function entryOf(name: string): Entry {
  const entry = entries.get(name);
  if (entry === undefined) throw new Error(`no reference of ${name}`);
  return entry;
}

/** The model with its made-up weights, and what it is fed. */
export async function modelOf(
  name: string,
): Promise<{ readonly graph: Graph; readonly feeds: Map<string, HostTensor> }> {
  const entry = entryOf(name);
  const graph = await skeletons.filled(name, (weight, count): ByteSource | undefined => {
    const made = entry.numbers[weight];
    if (made === undefined) return undefined;
    return {
      name: weight,
      size: count * 4,
      read: async (at, length) => new Uint8Array(numbers(length / 4, ...made, at / 4).buffer),
    };
  });
  const feeds = new Map<string, HostTensor>();
  for (const [index, [input, shape, bound]] of entry.inputs.entries()) {
    const salt = lossSalt + 1 + index;
    const count = sizeOf(shape);
    const integers = Array.from({ length: count }, (_, i) => (bound === 1 ? 1 : mixed(i, salt) % (bound ?? 1)));
    feeds.set(
      input,
      bound === null ? float32Tensor(shape, numbers(count, salt, 0, 1)) : fromInts("i64", shape, integers),
    );
  }
  return { graph, feeds };
}

/** Compares the gradients of all parameters, and running statistics after the step, with PyTorch's. */
export async function compareModel(
  runtime: Runtime,
  name: string,
  mode: Mode,
  plant: (name: string, values: Float32Array) => Float32Array = (_, values) => values,
): Promise<readonly Comparison[]> {
  const reference = entryOf(name)[mode] ?? { parameters: {} };
  const { graph, feeds } = await modelOf(name);
  const types = new Map<string, TensorType>();
  for (const [input, { dtype, shape }] of feeds) types.set(input, { dtype, shape });
  const g = algebra(await sized(graph, runtime, types));
  const next = mode === "training" ? trainingMode(g) : new Map();
  const output = g.of(graph.outputs[0]?.name ?? "");
  const weights = g.constant(float32Tensor(output.shape, numbers(sizeOf(output.shape), lossSalt, 0, 1)), "weights");
  const loss = g.sum(g.mul(output, weights));
  const wanted = new Map([...gradient(g, loss, Object.keys(reference.parameters)), ...next]);
  composeAll(g);
  const outputs = [...new Set([...wanted.values()].map((value) => value.name))].map((value) => ({
    name: value,
    dtype: null,
  }));
  const session = await runtime.compile(removeDeadCode({ ...g.finish().graph, outputs, valueInfo: new Map() }));
  try {
    const results = await session.run(feeds);
    const largest = Math.max(...Object.values(reference.parameters).map(({ norm }) => norm));
    return Object.entries({ ...reference.parameters, ...reference.statistics }).map(([parameter, kept]) => {
      const found = results.get(wanted.get(parameter)?.name ?? "");
      const values = found === undefined ? new Float32Array(1).fill(Number.NaN) : toFloat32(found);
      const sums = projections(plant(parameter, values));
      const squares = kept.projections.reduce((sum, exact, k) => sum + (exact - (sums[k] ?? Number.NaN)) ** 2, 0);
      // Over random signs, the mean square of a projection is the square of the norm.
      const distance = Math.sqrt(squares / kept.projections.length);
      const size = kept.error > 1 ? largest : kept.norm;
      return { name: parameter, error: distance / size, torch: (kept.error * kept.norm) / size };
    });
  } finally {
    await session.release();
  }
}

/** The largest error that a parameter may have. */
export const allowed = ({ torch }: Comparison): number => Math.max(1e-3, 3 * torch);
