import { allNames, captures } from "../../graph/captures.ts";
import type { Graph, Node, TensorType, ValueInfo } from "../../graph/graph.ts";
import { removeDeadCode } from "../../graph/passes/dead-code.ts";
import { distinctNodes } from "../../graph/passes/distinct.ts";
import { byteLengthOf, dtypeOfOnnx } from "../../tensor/dtype.ts";
import { didYouMean, EspalierError } from "../../tensor/error.ts";
import { bytesOf, formatShape, type HostTensor, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import type { OutputType } from "../engine.ts";
import { canBeFed } from "./ort-tensor.ts";

/** What inference needs of the runtime. */
export interface Compiler {
  /** Types of the outputs of a graph, compiled and not run. */
  outputTypes(graph: Graph): Promise<readonly OutputType[]>;
  /** Outputs of a graph, run once. */
  runOnce(graph: Graph, feeds: ReadonlyMap<string, HostTensor>): Promise<ReadonlyMap<string, HostTensor>>;
}

type Types = Map<string, TensorType>;

/**
 * Types of every value at the given input types. Three steps, each for what the one before left open: compile with every
 * value as an output; compile the `Shape` of values that look like scalars, whose length tells the rank; run the
 * remaining ones' `Shape` on made-up inputs, so that a shape that depends on data is the one of this run.
 */
export async function inferTypes(
  graph: Graph,
  inputs: ReadonlyMap<string, TensorType>,
  compiler: Compiler,
): Promise<Types> {
  const types: Types = new Map();
  const fixed = fixInputs(graph, inputs, types);
  for (const [name, ref] of graph.constants) types.set(name, { dtype: ref.dtype, shape: ref.shape });
  const all = weightsAsInputs(fixed);
  const { nodes, standsFor } = distinctNodes(all);
  const light = withoutUnread({ ...all, nodes });
  const names = computedValues(light, types);
  const found = await compiler
    .outputTypes(asking(light, names))
    .catch(() => compileInParts(fixed, computedValues(fixed, types), compiler));
  const scalars: OutputType[] = [];
  const open: OutputType[] = [];
  for (const value of found) {
    if (value.dtype === null) continue;
    if (value.shape.length === 0) scalars.push(value);
    else if (!record(types, value, value.shape)) open.push(value);
  }
  for (const value of await scalarsByKind(light, scalars, types, compiler)) record(types, value, []);
  const unsure = scalars.filter(({ name }) => !types.has(name));
  const confirmed = await scalarsOf(light, unsure, compiler).catch(() => scalarsOf(fixed, unsure, compiler));
  for (const value of confirmed) record(types, value, []);
  for (const value of unsure) if (!types.has(value.name)) open.push(value);
  await runShapes(fixed, open, types, compiler);
  for (const [name, first] of standsFor) {
    const type = types.get(first);
    if (type !== undefined && !types.has(name)) types.set(name, type);
  }
  return types;
}

function fixInputs(graph: Graph, inputs: ReadonlyMap<string, TensorType>, types: Types): Graph {
  const known = new Set(graph.inputs.map((input) => input.name));
  for (const name of inputs.keys()) {
    if (!known.has(name)) {
      throw new EspalierError(
        "request",
        name,
        `expected one of the model's inputs (${[...known].slice(0, 5).join(", ")}), got "${name}".`,
        didYouMean(name, known),
      );
    }
  }
  const fixed = graph.inputs.map((input): ValueInfo => {
    const type = inputs.get(input.name);
    if (type === undefined) {
      if (input.dtype !== null && input.dims?.every((dim) => typeof dim === "number")) {
        types.set(input.name, { dtype: input.dtype, shape: input.dims.filter((dim) => typeof dim === "number") });
      }
      return input;
    }
    checkInput(input, type);
    types.set(input.name, type);
    return { name: input.name, dtype: type.dtype, dims: type.shape };
  });
  return { ...graph, inputs: fixed, valueInfo: new Map() };
}

function checkInput(input: ValueInfo, type: TensorType): void {
  const agrees =
    input.dims === undefined ||
    (input.dims.length === type.shape.length &&
      input.dims.every((dim, axis) => typeof dim !== "number" || dim === type.shape[axis]));
  if (agrees && (input.dtype === null || input.dtype === type.dtype)) return;
  throw new EspalierError(
    "shape",
    input.name,
    `expected ${input.dtype ?? "any type"} ${formatShape(input.dims ?? [])}, got ${type.dtype} ${formatShape(type.shape)}.`,
  );
}

function computedValues(graph: Graph, known: ReadonlyMap<string, TensorType>): string[] {
  const names = new Set<string>();
  for (const node of graph.nodes) {
    if (!canBeGiven(node)) continue;
    for (const name of node.outputs) if (name !== "" && !known.has(name)) names.add(name);
  }
  return [...names];
}

/**
 * False for what is cast to a type that the runtime does not give, such as bf16. It says so of one of them only after it compiled
 * the graph, and keeps what it compiled until the next garbage collection.
 */
function canBeGiven(node: Node): boolean {
  const to = node.attributes.get("to");
  const dtype = to?.kind === "int" ? dtypeOfOnnx(to.value) : undefined;
  return dtype === undefined || canBeFed(dtype);
}

/** Sizes, axes, scales and the like are shorter than this. */
const valueBytes = 1024;

/** Shapes do not depend on what is in a large weight, so it need not be read: it becomes an input of its type. */
function weightsAsInputs(graph: Graph): Graph {
  const constants = new Map<string, TensorRef>();
  const inputs = [...graph.inputs];
  for (const [name, ref] of graph.constants) {
    if (bytesOf(ref) <= valueBytes || !canBeFed(ref.dtype)) constants.set(name, ref);
    else inputs.push({ name, dtype: ref.dtype, dims: ref.shape });
  }
  return { ...graph, constants, inputs };
}

function asking(graph: Graph, names: readonly string[]): Graph {
  return { ...graph, outputs: names.map((name) => ({ name, dtype: null })) };
}

/** The graph without constants that no node reads. */
function withoutUnread(graph: Graph): Graph {
  const read = new Set(graph.nodes.flatMap((node) => [...node.inputs, ...captures(node)]));
  return { ...graph, constants: new Map([...graph.constants].filter(([name]) => read.has(name))) };
}

/** Most compilations that are spent on finding the values that the runtime cannot give as outputs. */
const patience = 40;

/** Types of `names`; halves the list where the runtime refuses one as an output, and leaves that one out. */
async function compileInParts(graph: Graph, names: readonly string[], compiler: Compiler): Promise<OutputType[]> {
  const found: OutputType[] = [];
  const pending = [names];
  let tries = 0;
  let asGiven: Promise<unknown> | undefined;
  for (let part = pending.pop(); part !== undefined; part = pending.pop()) {
    if (part.length === 0) continue;
    try {
      found.push(...(await compiler.outputTypes(asking(graph, part))));
    } catch (failure) {
      // A graph that does not compile with its own outputs either is at fault itself.
      asGiven ??= compiler.outputTypes(graph);
      await asGiven;
      if (++tries > patience) throw failure;
      if (part.length === 1) continue;
      const half = part.length >> 1;
      pending.push(part.slice(half), part.slice(0, half));
    }
  }
  return found;
}

/**
 * As `scalarsOf`, from the nodes that give these values alone, each kind of node once: what they read becomes an input of
 * its type. What such a node does not tell without its surroundings is left out.
 */
async function scalarsByKind(
  graph: Graph,
  values: readonly OutputType[],
  types: ReadonlyMap<string, TensorType>,
  compiler: Compiler,
): Promise<OutputType[]> {
  const asked = new Set(values.map(({ name }) => name));
  const read = new Map<string, ValueInfo>();
  const made = new Set<string>(["", ...graph.constants.keys()]);
  const isTyped = (name: string): boolean => made.has(name) || types.has(name);
  const givers = graph.nodes.filter((node) => {
    if (!node.outputs.some((name) => asked.has(name))) return false;
    if (!node.inputs.every(isTyped) || captures(node).length > 0) return false;
    for (const name of node.outputs) made.add(name);
    return true;
  });
  const typeText = (name: string): string | undefined => {
    const type = made.has(name) ? undefined : types.get(name);
    return type === undefined ? undefined : `${type.dtype} ${type.shape}`;
  };
  const { nodes, standsFor } = distinctNodes(graph, typeText, givers);
  for (const name of nodes.flatMap((node) => node.inputs)) {
    const type = made.has(name) ? undefined : types.get(name);
    if (type !== undefined) read.set(name, { name, dtype: type.dtype, dims: type.shape });
  }
  const kinds = values.filter(({ name }) => made.has(name) && !standsFor.has(name));
  const part = { ...graph, nodes, inputs: [...read.values()] };
  const found = new Set((await scalarsOf(part, kinds, compiler).catch(() => [])).map(({ name }) => name));
  return values.filter(({ name }) => found.has(standsFor.get(name) ?? name));
}

/** Of values whose type says `[]`, those that are scalars; the others have an unknown rank. */
async function scalarsOf(graph: Graph, values: readonly OutputType[], compiler: Compiler): Promise<OutputType[]> {
  if (values.length === 0) return [];
  const { asked, shapeNames } = askShapes(graph, values);
  const ranks = new Map((await compiler.outputTypes(asked)).map((type) => [type.name, type.shape[0]]));
  return values.filter((_, i) => ranks.get(shapeNames[i] ?? "") === 0);
}

async function runShapes(graph: Graph, values: readonly OutputType[], types: Types, compiler: Compiler): Promise<void> {
  if (values.length === 0 || graph.inputs.some((input) => !types.has(input.name))) return;
  const { asked, shapeNames } = askShapes(graph, values);
  const results = await runOnMadeUp(asked, types, compiler);
  for (const [i, value] of values.entries()) {
    const shape = results?.get(shapeNames[i] ?? "");
    if (shape !== undefined) record(types, value, integers(shape));
  }
}

/** Token ids, masks and lengths are seldom wrong as 1; where they are (a table of one row), 0 is right. */
async function runOnMadeUp(
  graph: Graph,
  types: ReadonlyMap<string, TensorType>,
  compiler: Compiler,
): Promise<ReadonlyMap<string, HostTensor> | undefined> {
  for (const integer of [1, 0]) {
    const feeds = new Map<string, HostTensor>();
    for (const { name } of graph.inputs) {
      const type = types.get(name);
      if (type !== undefined) feeds.set(name, madeUp(type, integer));
    }
    try {
      return await compiler.runOnce(graph, feeds);
    } catch {
      // The values stay unknown, which is what an absent type says.
    }
  }
  return undefined;
}

function madeUp(type: TensorType, integer: number): HostTensor {
  const { dtype, shape } = type;
  const size = sizeOf(shape);
  const bytes = new Uint8Array(byteLengthOf(dtype, size));
  if (dtype === "f32") {
    const values = new Float32Array(bytes.buffer);
    for (let i = 0; i < size; i++) values[i] = ((i * 37) % 101) / 101;
  } else if (dtype === "f64") {
    const values = new Float64Array(bytes.buffer);
    for (let i = 0; i < size; i++) values[i] = ((i * 37) % 101) / 101;
  } else if (dtype[0] === "i" || dtype[0] === "u" || dtype === "bool") {
    const step = size === 0 ? 1 : bytes.length / size;
    for (let i = 0; i < bytes.length; i += step) bytes[i] = integer;
  }
  return { dtype, shape, bytes };
}

function askShapes(graph: Graph, values: readonly OutputType[]): { asked: Graph; shapeNames: readonly string[] } {
  const taken = allNames(graph);
  const shapeNames = values.map((value) => {
    let name = `${value.name}/shape`;
    while (taken.has(name)) name += "_";
    taken.add(name);
    return name;
  });
  const nodes = values.map(
    (value, i): Node => ({
      name: "",
      domain: "",
      op: "Shape",
      inputs: [value.name],
      outputs: [shapeNames[i] ?? ""],
      attributes: new Map(),
    }),
  );
  const opsets = graph.opsets.has("") ? graph.opsets : new Map([...graph.opsets, ["", 17] as const]);
  const outputs = shapeNames.map((name): ValueInfo => ({ name, dtype: "i64" }));
  return { asked: removeDeadCode({ ...graph, opsets, nodes: [...graph.nodes, ...nodes], outputs }), shapeNames };
}

function integers(tensor: HostTensor): number[] {
  const { bytes } = tensor;
  return Array.from(new BigInt64Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 8), Number);
}

function record(types: Types, value: OutputType, shape: readonly (number | string)[]): boolean {
  const numbers = shape.filter((dim) => typeof dim === "number");
  if (value.dtype === null || numbers.length !== shape.length) return false;
  types.set(value.name, { dtype: value.dtype, shape: numbers });
  return true;
}
