import type { WidthTimes } from "../allocation/by-error.ts";
import { type Group, isBookkeeping, unitCount } from "../coupling/couple.ts";
import type { Attribute, Feeds, Graph, Node, TensorType } from "../graph/graph.ts";
import { extract, type Types } from "../graph/subgraph.ts";
import type { Analysis } from "../models/analysis.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import { cut } from "../surgery/cut.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats } from "../tensor/numeric.ts";
import { type Job, step } from "../tensor/progress.ts";
import { random } from "../tensor/random.ts";
import { type HostTensor, sizeOf, tensor } from "../tensor/tensor.ts";

export interface WidthTimesContext extends Job {
  readonly runtime: Runtime;
  readonly analysis: Analysis;
  /** Inputs of the whole network, at the batch that counts. */
  readonly feeds: Feeds;
}

/** Most widths of one group that are measured. */
const MOST_WIDTHS = 16;

/** Each width runs this often, and the parts of one kind together at most this long. */
const MEASURE = { runs: 15, warmup: 2, maxSeconds: 4 } as const;

/** Kept counts worth measuring: multiples of `roundTo`, doubled until there are at most sixteen; ascending. */
export function widthsOf(size: number, roundTo: number | "auto", minKept: number): readonly number[] {
  let grain = roundTo === "auto" ? 1 : roundTo;
  while (size / grain > MOST_WIDTHS) grain *= 2;
  const list: number[] = [];
  for (let n = grain; n < size; n += grain) if (n >= minKept) list.push(n);
  return [...list, size];
}

/**
 * Measures for each group the nodes that its units run through, alone, at each of the widths in turns. Kernels work in
 * steps, so times say what fewer units are worth where multiply-accumulates do not. Parts that look the same are measured
 * once. Groups whose part does not run alone are absent.
 */
export async function widthTimes(
  context: WidthTimesContext,
  groups: readonly Group[],
  widths: (group: Group) => readonly number[],
): Promise<WidthTimes> {
  const { runtime, analysis, feeds } = context;
  const inputs = new Map([...feeds].map(([name, { dtype, shape }]): [string, TensorType] => [name, { dtype, shape }]));
  const types = new Map([...(await runtime.types(analysis.graph, inputs)), ...inputs]);
  const touched = nodesByLeaf(analysis);
  const times = new Map<Group, ReadonlyMap<number, number>>();
  const known = new Map<string, ReadonlyMap<number, number>>();
  for (const [done, group] of groups.entries()) {
    step(context, "measure widths", done, groups.length, group.id);
    const nodes = touched.get(group.leaf);
    if (nodes === undefined) continue;
    const counts = widths(group);
    try {
      const part = partOf(analysis, nodes, types);
      const narrow = (count: number): Promise<Graph> => firstUnits(part, analysis, group, count);
      const key = JSON.stringify([counts, likeness(part), likeness(await narrow(counts[0] ?? group.size))]);
      const measured = known.get(key) ?? (await measuredAt(runtime, counts, narrow, feeds));
      known.set(key, measured);
      times.set(group, measured);
    } catch (error) {
      // A part may want inputs that cannot be made up: positions in range, sizes that fit.
      if (!(error instanceof EspalierError)) throw error;
    }
  }
  step(context, "measure widths", groups.length, groups.length);
  return times;
}

/** The nodes that read or make a value along whose axes the units of a leaf lie. */
function nodesByLeaf({ graph, coupling, facts }: Analysis): ReadonlyMap<object, ReadonlySet<Node>> {
  const byLeaf = new Map<object, Set<Node>>();
  for (const node of graph.nodes) {
    if (isBookkeeping(node, facts)) continue;
    for (const name of [...node.inputs, ...node.outputs]) {
      for (const axis of coupling.axes(name) ?? []) {
        for (const { leaf } of coupling.occurrences(axis)) {
          const nodes = byLeaf.get(leaf);
          if (nodes === undefined) byLeaf.set(leaf, new Set([node]));
          else nodes.add(node);
        }
      }
    }
  }
  return byLeaf;
}

/** The graph of some nodes: what they read from elsewhere are its inputs, what others read of theirs its outputs. */
function partOf({ graph, facts }: Analysis, nodes: ReadonlySet<Node>, types: Types): Graph {
  const made = new Set([...nodes].flatMap(({ outputs }) => outputs));
  const given = (name: string): boolean => name === "" || graph.constants.has(name) || facts.values.has(name);
  const from = new Set([...nodes].flatMap(({ inputs }) => inputs).filter((name) => !given(name) && !made.has(name)));
  const left = new Set(graph.outputs.map(({ name }) => name));
  for (const node of graph.nodes) if (!nodes.has(node)) for (const name of node.inputs) left.add(name);
  const outputs = [...made].filter((name) => left.has(name));
  const part = extract(graph, outputs, { types, from: [...from] });
  return {
    ...part,
    inputs: part.inputs.map((info) => ({ ...info, dims: types.get(info.name)?.shape ?? info.dims ?? [] })),
    outputs: outputs.map((name) => ({ name, dtype: null })),
    valueInfo: new Map(),
  };
}

/** Which units stay makes no difference to the time. */
async function firstUnits(part: Graph, { coupling, facts }: Analysis, group: Group, count: number): Promise<Graph> {
  if (count === group.size) return part;
  const mask = new Uint8Array(unitCount(group));
  for (let set = 0; set < group.sets; set++) mask.fill(1, set * group.size, set * group.size + count);
  return cut(part, coupling, facts, new Map([[group, mask]]));
}

/** Milliseconds by width: the tenth percentile, since what disturbs a measurement only makes it longer. */
async function measuredAt(
  runtime: Runtime,
  counts: readonly number[],
  narrow: (count: number) => Promise<Graph>,
  feeds: Feeds,
): Promise<ReadonlyMap<number, number>> {
  const jobs: { session: Session; feeds: Feeds }[] = [];
  try {
    for (const count of counts) {
      const graph = await narrow(count);
      jobs.push({ session: await runtime.compile(graph), feeds: inputsOf(graph, feeds) });
    }
    const measured = await runtime.measure(jobs, MEASURE);
    return new Map(counts.map((count, i) => [count, measured[i]?.p10Ms ?? 0]));
  } finally {
    for (const { session } of jobs) await session.release();
  }
}

/** The network's own inputs where the part reads them; else normal numbers, and zeros for integers. */
function inputsOf(part: Graph, feeds: Feeds): Feeds {
  return new Map(
    part.inputs.map(({ name, dtype, dims = [] }): [string, HostTensor] => {
      const given = feeds.get(name);
      const shape = dims.map((n) => (typeof n === "number" ? n : 1));
      if (given !== undefined) return [name, given];
      if (dtype === null || !isFloat(dtype)) return [name, tensor(dtype ?? "f32", shape)];
      const values = new Float32Array(sizeOf(shape));
      random(0, "part", name).fillNormal(values);
      return [name, fromFloats(dtype, shape, values)];
    }),
  );
}

/** The same text for graphs that differ in names and weights only. */
function likeness(graph: Graph): string {
  const ids = new Map<string, number>();
  const idOf = (name: string): number => {
    const id = ids.get(name) ?? ids.size;
    ids.set(name, id);
    return id;
  };
  const operand = (name: string): unknown => {
    const constant = graph.constants.get(name);
    if (constant === undefined) return idOf(name);
    const { dtype, shape, resident } = constant;
    return [idOf(name), dtype, shape, isFloat(dtype) || resident === undefined ? null : [...resident]];
  };
  const inputs = graph.inputs.map(({ name, dtype, dims }) => [idOf(name), dtype, dims]);
  const nodes = graph.nodes.map(({ domain, op, attributes, inputs: read, outputs }) => [
    domain,
    op,
    [...attributes].map(([name, attribute]) => [name, setting(attribute)]),
    read.map(operand),
    outputs.map(idOf),
  ]);
  return JSON.stringify([inputs, nodes, graph.outputs.map(({ name }) => idOf(name))]);
}

function setting({ kind, value }: Attribute): unknown {
  if (kind === "tensor") return [value.dtype, value.shape];
  if (kind === "graph") return likeness(value);
  return kind === "opaque" ? [...value] : value;
}
