import type { Draft } from "../graph/draft.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { type Layer, layersOf } from "../stats/layers.ts";
import type { Tap } from "../stats/moments.ts";
import { featuresFirst } from "../stats/unfold.ts";
import { type Walk, walk } from "../stats/walk.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromInts } from "../tensor/numeric.ts";
import { beside } from "./beside.ts";
import type { RecoveryContext } from "./recovery.ts";

/** Adds the kept positions of an original's value, as features by positions. */
export function originalFeatures(
  draft: Draft,
  context: RecoveryContext,
  name: { readonly inOriginal: string; readonly here: string },
  axis: number,
  type: TensorType,
): string {
  const positions = context.kept.positions(name.inOriginal, axis);
  const kept =
    positions === null
      ? name.here
      : draft.op("Gather", [name.here, draft.constant(fromInts("i64", [positions.length], positions), "kept")], {
          axis: { kind: "int", value: axis },
        });
  return featuresFirst(draft, kept, axis, type);
}

/** Visits the pruned graph beside the original from front to back; each layer sees what was repaired before it. */
export interface Tour {
  readonly pruned: Analysis;
  readonly layers: readonly Layer[];
  /** Measures at one layer of the present graph. `taps` adds to a draft of both graphs. */
  measure<T>(
    graph: Graph,
    layer: Layer,
    taps: (draft: Draft, original: (value: string) => string, opset: number) => Tap<T>,
  ): Promise<T>;
}

/** Starts a tour. Throws `request` where there are no calibration inputs. */
export async function tour(context: RecoveryContext, id: string): Promise<Tour> {
  const { runtime, original, calibration, batchSize } = context;
  if (calibration === null) {
    const hint = "Give unlabelled inputs with --calib, or --calib random for made-up ones.";
    throw new EspalierError("request", `recovery ${id}`, "expected calibration inputs, got none.", hint);
  }
  const pruned = await analyse(context.pruned, runtime, { shapes: shapesOf(original) });
  const road: Walk = await walk(runtime, calibration, batchSize, pruned.facts.types);
  return {
    pruned,
    layers: layersOf(pruned),
    measure: async (graph, layer, taps) => {
      const both = beside(original.graph, graph);
      const draft = edit(both.graph);
      const tap = taps(draft, both.original, graph.opsets.get("") ?? 1);
      const tapped = draft.finish();
      const position = tapped.nodes.findIndex(({ outputs }) => outputs[0] === layer.output);
      await road.step(tapped, tap.outputs, position, (values) => tap.add(values));
      return tap.result();
    },
  };
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
