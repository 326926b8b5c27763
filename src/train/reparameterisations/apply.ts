import { type Algebra, algebra, type SizedGraph, type Value } from "../../graph/algebra/algebra.ts";
import type { Feeds } from "../../graph/graph.ts";
import { evaluate } from "../../runtime/evaluate.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type DType, isFloat } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { converted } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { formatShape, type HostTensor, refOf, type Shape, type TensorRef } from "../../tensor/tensor.ts";
import type { Form, OwnTensor, Reparameterisation } from "./reparameterisation.ts";

/** Parameters that one re-parameterisation stands in for: each its own, or all from one source. */
export interface Use {
  readonly parameters: readonly string[];
  readonly by: Reparameterisation;
}

/** An input that the host fills for each run. */
export interface Fed {
  readonly input: string;
  readonly kind: string;
  readonly parameters: readonly string[];
  readonly shape: Shape;
}

/** A value that an expression gave a kind. */
export interface Exposed {
  readonly kind: string;
  readonly parameters: readonly string[];
  readonly value: string;
}

/** A model that computes some of its parameters from others. */
export interface Reparameterised {
  readonly model: SizedGraph;
  /** New parameters that are trained. */
  readonly trained: readonly string[];
  /** Parameters that nothing reads any more. */
  readonly replaced: ReadonlySet<string>;
  /** What the model computes with in the place of a parameter: where its gradient at the effective weight is taken. */
  readonly effective: ReadonlyMap<string, string>;
  readonly exposed: readonly Exposed[];
  readonly fed: readonly Fed[];
  /** What the re-parameterisations feed at a run, as a function of seed and run; what a caller has to feed is not in it. */
  feeds(run: number, seed: number): Feeds;
  /**
   * The parameters as plain tensors of their own type, from what was trained. `feeds` are tensors that the hard form asks
   * for, by the names of `fed`. Throws `data` where one is missing.
   */
  harden(
    runtime: Pick<Runtime, "compile">,
    state: ReadonlyMap<string, HostTensor>,
    feeds?: Feeds,
  ): Promise<ReadonlyMap<string, HostTensor>>;
}

/** A use with the tensors that it brings. */
interface Placed extends Use {
  readonly own: ReadonlyMap<string, OwnTensor>;
}

/** Name of a tensor that stands beside parameters: that of the first, and what it is. */
const ownName = ({ parameters: [first = ""], by }: Use, kind: string): string => `${first}/${by.id}/${kind}`;

/**
 * Puts expressions of new parameters in the place of parameters: all their present readers get these. A parameter that
 * occurs in several uses goes through them in turn. Throws `model` where one is no float constant and `shape` where an
 * expression has another shape than its parameter.
 */
export async function reparameterised(model: SizedGraph, uses: readonly Use[]): Promise<Reparameterised> {
  const { constants } = model.graph;
  const placed: Placed[] = [];
  for (const use of uses) {
    placed.push({ ...use, own: await use.by.initial(use.parameters.map((name) => constantOf(constants, name))) });
  }
  const g = algebra(model);
  const trained: string[] = [];
  for (const use of placed) {
    for (const [kind, { tensor, trained: learns = true }] of use.own) {
      const name = ownName(use, kind);
      if (g.has(name))
        throw new EspalierError("request", name, "expected each re-parameterisation once, got it twice.");
      g.draft.setConstant(name, tensor);
      g.declare(name, tensor);
      if (learns) trained.push(name);
    }
  }
  const readers = new Map(placed.flatMap((use) => use.parameters.map((name) => [name, g.draft.consumers(name)])));
  const exposed: Exposed[] = [];
  const fed = new Map<string, Fed & { readonly use: Use }>();
  const values = write(g, placed, "train", {
    fed: (use, kind, shape) => {
      const input = ownName(use, kind);
      if (fed.has(input)) return g.of(input);
      fed.set(input, { input, kind, parameters: use.parameters, shape, use });
      return g.input(input, "f32", shape);
    },
    expose: ({ parameters }, kind, value) => exposed.push({ kind, parameters, value: value.name }),
  });
  const effective = new Map<string, string>();
  for (const [name, value] of values) {
    // Always a value of its own, so that gradients can be asked for there.
    const own = value.name === name ? g.map("Identity", value) : value;
    effective.set(name, own.name);
    g.draft.replaceUses(name, own.name, { only: readers.get(name) ?? [] });
  }
  const replaced = new Set([...effective.keys()].filter((name) => g.draft.consumers(name).length === 0));
  const finished = g.finish();
  return {
    model: finished,
    trained,
    replaced,
    effective,
    exposed,
    fed: [...fed.values()],
    feeds: (run, seed) => {
      const found = new Map<string, HostTensor>();
      for (const { input, kind, shape, use } of fed.values()) {
        const value = use.by.feed?.(kind, shape, random(seed, "feed", input, run)) ?? null;
        if (value !== null) found.set(input, value);
      }
      return found;
    },
    harden: (runtime, state, feeds = new Map()) => harden(runtime, finished, placed, state, feeds),
  };
}

/** Writes the hard form over nothing but constants and computes it. */
async function harden(
  runtime: Pick<Runtime, "compile">,
  { graph }: SizedGraph,
  uses: readonly Placed[],
  state: ReadonlyMap<string, HostTensor>,
  feeds: Feeds,
): Promise<ReadonlyMap<string, HostTensor>> {
  const constants = new Map<string, TensorRef>();
  for (const use of uses) {
    for (const name of use.parameters) constants.set(name, constantOf(graph.constants, name));
    for (const [kind, { tensor }] of use.own) constants.set(ownName(use, kind), refOf(tensor));
  }
  for (const name of constants.keys()) {
    const value = state.get(name);
    if (value !== undefined) constants.set(name, refOf(value));
  }
  const bare = { ...graph, nodes: [], inputs: [], outputs: [], constants, valueInfo: new Map() };
  const g = algebra({ graph: bare, types: new Map(), values: new Map() });
  const written = write(g, uses, "hard", {
    fed: (use, kind, shape) => {
      const input = ownName(use, kind);
      return g.has(input) ? g.of(input) : g.input(input, "f32", shape);
    },
    expose: () => undefined,
  });
  const values = new Map<string, string>();
  // A runtime hands out no bfloat16: what is stored in a narrow type leaves it in float32.
  const stored = (name: string): DType => constantOf(graph.constants, name).dtype;
  const leaves = (dtype: DType): DType => (dtype === "bf16" || dtype === "f16" ? "f32" : dtype);
  for (const [name, value] of written) values.set(name, g.cast(value, leaves(stored(name))).name);
  const results = await evaluate(runtime, g.finish().graph, [...values.values()], feeds);
  const found = new Map<string, HostTensor>();
  for (const [name, value] of values) {
    const result = results.get(value);
    if (result !== undefined) found.set(name, converted(result, stored(name)));
  }
  return found;
}

/** Where an expression finds what it asks for. */
interface Sources {
  fed(use: Use, kind: string, shape: Shape): Value;
  expose(use: Use, kind: string, value: Value): void;
}

/** The value of each parameter after all uses. */
function write(g: Algebra, uses: readonly Placed[], form: Form, sources: Sources): ReadonlyMap<string, Value> {
  const now = new Map<string, Value>();
  for (const use of uses) {
    const given = use.parameters.map((name) => now.get(name) ?? g.of(name));
    const values = use.by.write(
      {
        g,
        parameters: given.map((value) => g.cast(value, "f32")),
        own: (kind) => {
          if (use.own.has(kind)) return g.of(ownName(use, kind));
          throw new EspalierError("request", use.by.id, `expected a tensor "${kind}" of its own, got none.`);
        },
        fed: (kind, shape) => sources.fed(use, kind, shape),
        expose: (kind, value) => sources.expose(use, kind, value),
      },
      form,
    );
    for (const [i, name] of use.parameters.entries()) {
      const [before, value] = [given[i], values[i]];
      if (before === undefined || value === undefined || formatShape(before.shape) !== formatShape(value.shape)) {
        const expected = before === undefined ? "a parameter" : formatShape(before.shape);
        const got = value === undefined ? "none" : formatShape(value.shape);
        throw new EspalierError(
          "shape",
          `${use.by.id} of ${name}`,
          `expected an expression of ${expected}, got ${got}.`,
        );
      }
      now.set(name, g.cast(value, before.dtype));
    }
  }
  return now;
}

function constantOf(constants: ReadonlyMap<string, TensorRef>, name: string): TensorRef {
  const ref = constants.get(name);
  if (ref !== undefined && isFloat(ref.dtype)) return ref;
  const got = ref === undefined ? "none" : ref.dtype;
  throw new EspalierError("model", `parameter "${name}"`, `expected a float constant of the graph, got ${got}.`);
}
