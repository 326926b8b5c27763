import type { Matrix } from "../coupling/matrices.ts";
import { edit } from "../graph/edit.ts";
import type { Draft } from "../graph/draft.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import type { LinearForm } from "../ops/linear.ts";
import type { Tap } from "../stats/moments.ts";
import { featuresFirst, formOf } from "../stats/unfold.ts";
import { type Walk, walk } from "../stats/walk.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromInts } from "../tensor/numeric.ts";
import { beside } from "./beside.ts";
import type { RecoveryContext } from "./recovery.ts";

/** A trained matrix of the pruned graph as recoveries repair it. */
export interface Layer {
  readonly matrix: Matrix;
  readonly form: LinearForm;
  /** The value that its columns multiply, and what it gives. */
  readonly input: string;
  readonly output: string;
  /** Axis of the output that counts rows. */
  readonly axis: number;
  readonly outputType: TensorType;
}

/** The matrices that recoveries can repair, in the order in which data passes them. */
export function layersOf(pruned: Analysis): readonly Layer[] {
  const uses = new Map<string, number>();
  for (const { parameter } of pruned.matrices) uses.set(parameter, (uses.get(parameter) ?? 0) + 1);
  const found: Layer[] = [];
  for (const matrix of pruned.matrices) {
    const form = formOf(matrix);
    const output = matrix.node.outputs[0] ?? "";
    const outputType = pruned.facts.types.get(output);
    const dtype = pruned.graph.constants.get(matrix.parameter)?.dtype;
    if (form === null || matrix.data === null || outputType === undefined || dtype === undefined) continue;
    const input = pruned.facts.types.get(matrix.data.value);
    // A parameter that is used twice has no single input to fit; one that is not two axes and a window is no matrix here.
    if (uses.get(matrix.parameter) !== 1 || !isFloat(dtype) || !isFloat(outputType.dtype) || input === undefined) continue;
    if (matrix.outputs.length + matrix.inputs.length !== matrix.shape.length) continue;
    if (!form.window && input.shape.length !== outputType.shape.length) continue;
    const axis = form.outputAxis(outputType.shape.length);
    found.push({ matrix, form, input: matrix.data.value, output, axis, outputType });
  }
  return found;
}

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
