import {
  canShift,
  ownParameter,
  readMatrix,
  shiftOutput,
  smallConstants,
  withConstant,
  writeMatrix,
} from "../criteria/parameters.ts";
import type { Graph } from "../graph/graph.ts";
import { runningStatistics } from "../ops/linear.ts";
import { type Layer, layersOf } from "../stats/layers.ts";
import { type ChannelMoments, tapChannels, tapFeatures } from "../stats/taps/moments.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats } from "../tensor/numeric.ts";
import { step } from "../tensor/progress.ts";
import type { Recovery } from "./recovery.ts";
import { both, originalFeatures, tour } from "./tour.ts";

/** What happens to y so that it has the mean and deviation that it had: scale · y + shift. */
interface Correction {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** Deviations are not scaled by more than this: a channel that has all but stopped to vary carries noise only. */
const MOST = 4;

/**
 * Gives the output of each matrix in front of a norm, and of each convolution, the mean and deviation per channel that the
 * original has on the same inputs: in the running statistics of the norm behind it, else in its weights and bias. Front to
 * back, so that each layer sees what was repaired before it; where nothing was removed nothing changes.
 */
export function normEstimation(): Recovery {
  return {
    id: "norm",
    needsData: true,
    restores: true,
    check: async ({ original, fixedParameters = false }) => {
      if (layersOf(original).some((layer) => isCorrected(original.graph, layer, fixedParameters))) return;
      const message =
        "expected convolutions, or norms with running statistics, whose moments can be corrected, got none.";
      throw new EspalierError("request", "recovery norm", message, "Repair by lsq or distill.");
    },
    apply: async (context) => {
      const { job, fixedParameters = false } = context;
      const { affected: chosen, measure } = await tour(context, "norm");
      let graph = context.pruned;
      for (const [index, layer] of chosen.entries()) {
        step(job, "recover norm", index, chosen.length, layer.matrix.parameter);
        if (!isCorrected(graph, layer, fixedParameters)) continue;
        const norm = normBehind(graph, layer);
        const [now, before] = await measure(graph, layer, (draft, inOriginal, opset) => {
          const here = inOriginal(layer.output);
          const target = originalFeatures(
            draft,
            context,
            { inOriginal: layer.output, here },
            layer.axis,
            layer.outputType,
          );
          return both(
            tapChannels(draft, opset, layer.output, layer.axis, layer.outputType),
            tapFeatures(draft, opset, target, layer.matrix.rows),
          );
        });
        const correction = correctionOf(now, before);
        graph = norm === null ? await intoWeights(graph, layer, correction) : await intoNorm(graph, norm, correction);
      }
      step(job, "recover norm", chosen.length, chosen.length);
      return graph;
    },
  };
}

/** Whether a layer's moments are corrected: before a norm or in a convolution, where there is a place for it. */
function isCorrected(graph: Graph, layer: Layer, fixedParameters: boolean): boolean {
  if (normBehind(graph, layer) === null && !layer.form.window) return false;
  return !fixedParameters || canShift(graph, layer.matrix);
}

function correctionOf(now: ChannelMoments, before: ChannelMoments): Correction {
  const channels = now.sum.length;
  const scale = new Float64Array(channels).fill(1);
  const shift = new Float64Array(channels);
  for (let c = 0; c < channels; c++) {
    const [mean, deviation] = momentsOf(now, c);
    const [oldMean, oldDeviation] = momentsOf(before, c);
    if (deviation > 0 && oldDeviation > 0) scale[c] = Math.min(MOST, Math.max(1 / MOST, oldDeviation / deviation));
    shift[c] = oldMean - mean * (scale[c] ?? 1);
  }
  return { scale, shift };
}

function momentsOf({ count, sum, squares }: ChannelMoments, c: number): [mean: number, deviation: number] {
  const mean = (sum[c] ?? 0) / count;
  return [mean, Math.sqrt(Math.max(0, (squares[c] ?? 0) / count - mean * mean))];
}

/** The statistics of the norm that alone reads the layer's output; null where there is none or others share them. */
function normBehind(graph: Graph, layer: Layer): { readonly mean: string; readonly variance: string } | null {
  const readers = graph.nodes.filter(({ inputs }) => inputs.includes(layer.output));
  const [norm] = readers;
  const statistics = norm === undefined || readers.length !== 1 ? null : runningStatistics(norm);
  if (statistics === null || graph.outputs.some(({ name }) => name === layer.output)) return null;
  const [mean, variance] = [ownParameter(graph, statistics.mean), ownParameter(graph, statistics.variance)];
  const fits = (name: string): boolean => graph.constants.get(name)?.shape[0] === layer.matrix.rows;
  return mean === null || variance === null || !fits(mean) || !fits(variance) ? null : { mean, variance };
}

/** (scale · y + shift − m) / √v is (y − (m − shift) / scale) / √(v / scale²). */
async function intoNorm(
  graph: Graph,
  norm: { readonly mean: string; readonly variance: string },
  { scale, shift }: Correction,
): Promise<Graph> {
  const constant = await smallConstants(graph);
  const mean = constant(norm.mean)?.values.map((m, c) => (m - (shift[c] ?? 0)) / (scale[c] ?? 1));
  const variance = constant(norm.variance)?.values.map((v, c) => v / (scale[c] ?? 1) ** 2);
  const [its = "f32", other = "f32"] = [norm.mean, norm.variance].map((name) => graph.constants.get(name)?.dtype);
  if (mean === undefined || variance === undefined || !isFloat(its) || !isFloat(other)) return graph;
  const shifted = withConstant(graph, norm.mean, fromFloats(its, [mean.length], mean));
  return withConstant(shifted, norm.variance, fromFloats(other, [variance.length], variance));
}

/** scale · (W x + b) + shift = (scale · W) x + b + (scale · b + shift − b). */
async function intoWeights(graph: Graph, layer: Layer, { scale, shift }: Correction): Promise<Graph> {
  const { matrix, form, output, outputType } = layer;
  const node = graph.nodes.find(({ outputs }) => outputs[0] === output);
  const name = form.bias === null ? "" : (node?.inputs[form.bias] ?? "");
  const bias = name === "" ? new Float64Array(matrix.rows) : (await smallConstants(graph))(name)?.values;
  if (bias === undefined) return graph;
  const weights = await readMatrix(graph, matrix);
  for (let i = 0; i < weights.length; i++)
    weights[i] = (weights[i] ?? 0) * (scale[Math.floor(i / matrix.columns)] ?? 1);
  const amount = shift.map((s, r) => s + ((scale[r] ?? 1) - 1) * (bias[r] ?? 0));
  return shiftOutput(writeMatrix(graph, matrix, weights), matrix, outputType, amount);
}
