import { canShift, readMatrix, shiftOutput, smallConstants, writeMatrix } from "../criteria/parameters.ts";
import type { Graph } from "../graph/graph.ts";
import { openProducts } from "../runtime/open-products.ts";
import { type Ending, endingOf } from "../stats/answers/ending.ts";
import { isAlone } from "../stats/layers.ts";
import { everyPosition, type InputMoments, type TargetMoments, tapInputs, tapTarget } from "../stats/taps/moments.ts";
import { featuresFirst } from "../stats/taps/unfold.ts";
import type { Products } from "../tensor/linalg/products.ts";
import { step } from "../tensor/progress.ts";
import { sizeOf } from "../tensor/tensor.ts";
import type { RecoveryContext } from "./recovery.ts";
import { both, lost, originalFeatures, tour } from "./tour.ts";

/** Numbers of a matrix and its biases, [rows, columns] and [rows]. */
export interface LayerNumbers {
  readonly weights: Float64Array;
  readonly bias: Float64Array;
}

/** What a matrix is fitted to, by sums over its inputs and over what it should give. */
export interface FitProblem {
  readonly inputs: InputMoments;
  readonly target: TargetMoments;
  readonly now: LayerNumbers;
  /** What happens to the output before it is compared with the target. */
  readonly ending: Pick<Ending, "scale" | "shift">;
  /** Whether biases may change too: a file without a place for one has none to give. */
  readonly freeBias: boolean;
  readonly products: Products;
}

export interface FitLayersOptions {
  /** Name of the recovery. */
  readonly id: string;
  /** Which matrices are fitted: those that lost inputs or weights, or also all behind them, whose inputs have changed. */
  readonly layers: "cut" | "behind";
  /** Where there are more positions than this for each column to fit, every so-many-th is used. */
  readonly positionsPerColumn: number;
  /** Other numbers. */
  readonly fit: (problem: FitProblem) => LayerNumbers | Promise<LayerNumbers>;
}

/**
 * Fits matrices of the pruned graph anew, in the order of data flow, each from its really pruned inputs to what the original
 * gave; where its output joins a sum, the sum is the target. Throws `request` without calibration inputs.
 */
export async function fitLayers(context: RecoveryContext, options: FitLayersOptions): Promise<Graph> {
  const products = openProducts(context.runtime);
  try {
    return await fitted(context, options, products);
  } finally {
    await products.release();
  }
}

async function fitted(context: RecoveryContext, options: FitLayersOptions, products: Products): Promise<Graph> {
  const { id, layers: which, positionsPerColumn } = options;
  const { job, first = context, fixedParameters = false } = context;
  const samples = context.calibration?.count ?? 0;
  const { pruned, affected, measure } = await tour(context, id, first);
  // What something else reads too, as a table of embeddings that is the head as well, is not there to be fitted to one use.
  const chosen = affected.filter(
    (layer) => (which === "behind" || lost(context, layer)) && isAlone(context.pruned, layer.matrix),
  );
  let graph = context.pruned;
  for (const [index, layer] of chosen.entries()) {
    step(job, `recover ${id}`, index, chosen.length, layer.matrix.parameter);
    const { matrix, form, input, output, axis, outputType } = layer;
    const inputType = pruned.facts.types.get(input);
    const constant = await smallConstants(graph);
    const present = graph.nodes.find(({ outputs }) => outputs[0] === output);
    const biasName = form.bias === null ? "" : (present?.inputs[form.bias] ?? "");
    const bias = biasName === "" ? new Float64Array(matrix.rows) : constant(biasName)?.values;
    if (inputType === undefined || bias?.length !== matrix.rows) continue;
    const end = endingOf(graph, output, axis, matrix.rows, pruned.facts.types, constant);
    if (!first.original.facts.types.has(end.value)) continue;
    const [inputs, target] = await measure(graph, layer, (draft, inOriginal, opset) => {
      const positions = (sizeOf(outputType.shape) / matrix.rows / pruned.samples) * samples;
      const every = Math.max(1, Math.floor(positions / (positionsPerColumn * matrix.columns)));
      const x = tapInputs(draft, opset, matrix, input, inputType, every);
      const here = inOriginal(end.value);
      let wanted = originalFeatures(draft, first, { inOriginal: end.value, here }, axis, outputType);
      if (end.bypass !== null) {
        wanted = draft.op("Sub", [wanted, featuresFirst(draft, end.bypass, axis, outputType)]);
      }
      wanted = everyPosition(draft, opset, wanted, every);
      return both(x, tapTarget(draft, opset, matrix, x.features, wanted, matrix.rows));
    });
    const now = { weights: await readMatrix(graph, matrix), bias: Float64Array.from(bias) };
    const freeBias = !fixedParameters || canShift(graph, matrix);
    const found = await options.fit({ inputs, target, now, ending: end, freeBias, products });
    graph = writeMatrix(graph, matrix, found.weights);
    const shift = found.bias.map((b, r) => b - (bias[r] ?? 0));
    graph = await shiftOutput(graph, matrix, outputType, shift);
  }
  step(job, `recover ${id}`, chosen.length, chosen.length);
  return graph;
}
