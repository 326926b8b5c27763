import { smallConstants } from "../criteria/parameters.ts";
import type { Dataset } from "../data/dataset.ts";
import { edit } from "../graph/edit.ts";
import type { Graph } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { endingOf } from "../stats/answers/ending.ts";
import { layersOf } from "../stats/layers.ts";
import { isFloat } from "../tensor/dtype.ts";
import { fromInts, toFloat32 } from "../tensor/numeric.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { beside } from "./beside.ts";
import type { RecoveryContext } from "./recovery.ts";

/** Features are compared at no more places than these, evenly spread over the depth. */
const PLACES = 12;

/**
 * What the pruned graph gives and what the original gives there. Of answers, classes are compared as distributions, given
 * as logits or as probabilities; everything else as numbers.
 */
export interface Lesson {
  readonly found: string;
  readonly target: string;
  readonly as: "logits" | "probabilities" | "values" | "features";
}

/** The pruned graph with the original beside it, and what the one learns from the other, all of it outputs. */
export interface Teacher {
  readonly graph: Graph;
  readonly lessons: readonly Lesson[];
}

/**
 * Puts the original beside the pruned graph as its teacher: answers at all float outputs, and with `features` the sums that
 * layers flow into (or what they give, in a graph without sums) at the positions that were kept.
 */
export async function teacherFor(
  context: RecoveryContext,
  pruned: Analysis,
  data: Dataset,
  features: boolean,
): Promise<Teacher> {
  const { original, kept } = context.first ?? context;
  const both = beside(original.graph, context.pruned);
  const draft = edit(both.graph);
  const lessons: Lesson[] = [];
  const forms = await formsOf(context, original, data);
  for (const [index, { name }] of original.graph.outputs.entries()) {
    const found = context.pruned.outputs[index]?.name;
    const as = forms.get(name);
    if (found !== undefined && as !== undefined) lessons.push({ found, target: both.original(name), as });
  }
  for (const value of features ? await placesOf(pruned, original) : []) {
    let target = both.original(value);
    for (const axis of original.facts.types.get(value)?.shape.keys() ?? []) {
      const positions = kept.positions(value, axis);
      if (positions === null) continue;
      const list = draft.constant(fromInts("i64", [positions.length], positions), "kept");
      target = draft.op("Gather", [target, list], { axis: { kind: "int", value: axis } });
    }
    for (const name of [value, target]) draft.output(name);
    lessons.push({ found: value, target, as: "features" });
  }
  return { graph: draft.finish(), lessons };
}

/** How each float output is compared: by what it is on one batch, and by its form. */
async function formsOf(
  { runtime, batchSize }: RecoveryContext,
  original: Analysis,
  data: Dataset,
): Promise<ReadonlyMap<string, Lesson["as"]>> {
  const { graph, facts } = original;
  const names = graph.outputs.map(({ name }) => name).filter((name) => isFloat(facts.types.get(name)?.dtype ?? "i64"));
  // Models of tokens answer with a distribution at each position; other answers of three axes are boxes or maps.
  const tokens = graph.inputs.some(({ dtype }) => dtype === "i64" || dtype === "i32");
  const forms = new Map<string, Lesson["as"]>();
  for await (const batch of data.batches(Math.min(batchSize, 16))) {
    const values = await evaluate(runtime, graph, names, batch.inputs);
    for (const [name, value] of values) {
      const rank = value.shape.length;
      const classes = (value.shape.at(-1) ?? 1) > 1 && (rank === 2 || (rank === 3 && tokens));
      forms.set(name, !classes ? "values" : areProbabilities(value) ? "probabilities" : "logits");
    }
    break;
  }
  return forms;
}

function areProbabilities(value: HostTensor): boolean {
  const values = toFloat32(value);
  const classes = value.shape.at(-1) ?? 1;
  for (let row = 0; row < values.length; row += classes) {
    let sum = 0;
    for (const p of values.subarray(row, row + classes)) {
      if (!(p >= 0 && p <= 1)) return false;
      sum += p;
    }
    if (Math.abs(sum - 1) > 1e-2) return false;
  }
  return true;
}

/** Values that both graphs have and where features are compared, in the order in which data passes them. */
async function placesOf(pruned: Analysis, original: Analysis): Promise<readonly string[]> {
  const constant = await smallConstants(pruned.graph);
  const sums = new Set<string>();
  const plain = new Set<string>();
  const answers = new Set(pruned.graph.outputs.map(({ name }) => name));
  for (const { output, axis, outputType, matrix } of layersOf(pruned)) {
    const end = endingOf(pruned.graph, output, axis, matrix.rows, pruned.facts.types, constant);
    if (answers.has(end.value) || outputType.dtype !== original.facts.types.get(end.value)?.dtype) continue;
    (end.bypass === null ? plain : sums).add(end.value);
  }
  const places = [...(sums.size > 0 ? sums : plain)];
  if (places.length <= PLACES) return places;
  return Array.from({ length: PLACES }, (_, i) => places[Math.floor(((i + 1) * places.length) / PLACES) - 1] ?? "");
}
