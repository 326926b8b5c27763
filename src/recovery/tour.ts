import type { Draft } from "../graph/draft.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { type Layer, layersOf } from "../stats/layers.ts";
import type { Tap } from "../stats/taps/tap.ts";
import { featuresFirst } from "../stats/taps/unfold.ts";
import { type Walk, walk } from "../stats/taps/walk.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromInts } from "../tensor/numeric.ts";
import { sameShape } from "../tensor/tensor.ts";
import { beside } from "./beside.ts";
import type { Origin, RecoveryContext } from "./recovery.ts";

/** Adds the kept positions of an original's value, as features by positions. */
export function originalFeatures(
  draft: Draft,
  { kept }: Origin,
  name: { readonly inOriginal: string; readonly here: string },
  axis: number,
  type: TensorType,
): string {
  const positions = kept.positions(name.inOriginal, axis);
  const left =
    positions === null
      ? name.here
      : draft.op("Gather", [name.here, draft.constant(fromInts("i64", [positions.length], positions), "kept")], {
          axis: { kind: "int", value: axis },
        });
  return featuresFirst(draft, left, axis, type);
}

/** Visits the pruned graph beside the original from front to back; each layer sees what was repaired before it. */
export interface Tour {
  readonly pruned: Analysis;
  readonly layers: readonly Layer[];
  /** Layers from the first on that lost inputs or weights or lies behind a node that reads other data than in the original. */
  readonly affected: readonly Layer[];
  /** Measures at one layer of the present graph. `taps` adds to a draft of both graphs. */
  measure<T>(
    graph: Graph,
    layer: Layer,
    taps: (draft: Draft, original: (value: string) => string, opset: number) => Tap<T>,
  ): Promise<T>;
}

/** Starts a tour beside the original, or beside another one. Throws `request` where there are no calibration inputs. */
export async function tour(context: RecoveryContext, id: string, other: Origin = context): Promise<Tour> {
  const { runtime, original, calibration, batchSize } = context;
  if (calibration === null) {
    const hint = "Give unlabelled inputs with --calib, or --calib random for made-up ones.";
    throw new EspalierError("request", `recovery ${id}`, "expected calibration inputs, got none.", hint);
  }
  const pruned = await analyse(context.pruned, runtime, { shapes: shapesOf(original) });
  const layers = layersOf(pruned);
  const road: Walk = await walk(runtime, calibration, batchSize, pruned.facts.types);
  return {
    pruned,
    layers,
    affected: affectedOf(context, layers),
    measure: async (graph, layer, taps) => {
      const both = beside(other.original.graph, graph);
      const draft = edit(both.graph);
      const tap = taps(draft, both.original, graph.opsets.get("") ?? 1);
      const tapped = draft.finish();
      const position = tapped.nodes.findIndex(({ outputs }) => outputs[0] === layer.output);
      await road.step(tapped, tap.outputs, position, (values) => tap.add(values));
      return tap.result();
    },
  };
}

/** True where a layer has lost inputs, or weights of it are others than in the original, as where some were set to zero. */
export function lost({ kept, original, pruned }: RecoveryContext, { input, matrix }: Layer): boolean {
  if (kept.positions(input, matrix.data?.axis ?? 0) !== null) return true;
  const before = original.graph.constants.get(matrix.parameter);
  const now = pruned.constants.get(matrix.parameter);
  return before !== undefined && now !== undefined && before !== now && sameShape(before.shape, now.shape);
}

function affectedOf(context: RecoveryContext, layers: readonly Layer[]): readonly Layer[] {
  const { original, pruned } = context;
  const before = new Map(original.graph.nodes.map((node) => [node.outputs[0] ?? "", node]));
  const rewired = pruned.nodes.findIndex((node) => {
    const same = before.get(node.outputs[0] ?? "");
    const inputs = same?.inputs ?? [];
    return inputs.some((name, i) => name !== node.inputs[i] && !original.facts.values.has(name));
  });
  const place = new Map(pruned.nodes.flatMap(({ outputs }, i) => outputs.map((name) => [name, i] as const)));
  const first = layers.findIndex(
    (layer) => lost(context, layer) || (rewired >= 0 && (place.get(layer.output) ?? 0) > rewired),
  );
  return first < 0 ? [] : layers.slice(first);
}

/** Several taps as one. */
export function both<A, B>(first: Tap<A>, second: Tap<B>): Tap<readonly [A, B]> {
  return {
    outputs: [...first.outputs, ...second.outputs],
    add: (values) => {
      first.add(values);
      second.add(values);
    },
    result: () => [first.result(), second.result()],
  };
}

function shapesOf(analysis: Analysis): ReadonlyMap<string, readonly number[]> {
  return new Map([...analysis.inputs].map(([name, { shape }]) => [name, shape]));
}
