import { canShift, readMatrix, shiftOutput, smallConstants } from "../criteria/parameters.ts";
import type { Feeds } from "../graph/graph.ts";
import { type UseDef, useDef } from "../graph/uses.ts";
import type { Analysis } from "../models/analysis.ts";
import { channelAffine, isPointwiseFunction, isUnpadded } from "../ops/linear.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { type Layer, layersOf } from "../stats/layers.ts";
import { isFloat } from "../tensor/dtype.ts";
import { fromFloats, toFloat32 } from "../tensor/numeric.ts";
import { sizeOf, tensor } from "../tensor/tensor.ts";
import type { Recovery } from "./recovery.ts";

/**
 * Folds what removed channels still gave into the biases of their consumers, where that was provably the same number
 * everywhere: the rows that make the channel are zero, or the norm behind them switches it off. Exact, and needs no data;
 * behind a window with pads it would not be exact at the border, so there nothing is folded.
 */
export const foldConstants: Recovery = {
  id: "fold",
  needsData: false,
  apply: async ({ runtime, original, kept, pruned, job, fixedParameters = false }) => {
    const layers = layersOf(original);
    const known: Known = {
      analysis: original,
      makers: new Map(layers.map((layer) => [layer.output, layer])),
      uses: useDef(original.graph),
      constant: await smallConstants(original.graph),
    };
    const losing: { readonly layer: Layer; readonly constant: Uint8Array }[] = [];
    for (const layer of layers) {
      job.signal?.throwIfAborted();
      if (fixedParameters && !canShift(original.graph, layer.matrix)) continue;
      const mask = kept.mask(layer.input, layer.matrix.data?.axis ?? 0);
      if (mask === null || layer.matrix.groups !== 1 || (layer.form.window && !isUnpadded(layer.matrix.node))) continue;
      const constant = await constantChannels(known, layer, mask.length);
      for (const [c, keep] of mask.entries()) if (keep === 1) constant[c] = 0;
      if (constant.includes(1)) losing.push({ layer, constant });
    }
    if (losing.length === 0) return pruned;
    const values = await evaluate(
      runtime,
      original.graph,
      losing.map(({ layer }) => layer.input),
      zeros(original),
    );
    let graph = pruned;
    for (const { layer, constant } of losing) {
      const { matrix, input, output, axis, outputType } = layer;
      const value = values.get(input);
      if (value === undefined) continue;
      const given = firstOfEach(toFloat32(value), value.shape, matrix.data?.axis ?? 0);
      const weights = await readMatrix(original.graph, matrix);
      const positions = matrix.columns / constant.length;
      const rows = kept.positions(output, axis) ?? Int32Array.from({ length: matrix.rows }, (_, r) => r);
      const amount = Float64Array.from(rows, (r) => {
        let sum = 0;
        for (let c = 0; c < matrix.columns; c++) {
          const feature = Math.floor(c / positions);
          if (constant[feature] === 1) sum += (weights[r * matrix.columns + c] ?? 0) * (given[feature] ?? 0);
        }
        return sum;
      });
      graph = await shiftOutput(graph, matrix, outputType, amount);
    }
    return graph;
  },
};

/** What is asked of the original for each layer. */
interface Known {
  readonly analysis: Analysis;
  /** Layers by the value that they give. */
  readonly makers: ReadonlyMap<string, Layer>;
  readonly uses: UseDef;
  readonly constant: Awaited<ReturnType<typeof smallConstants>>;
}

/** 1 where a channel of a layer's input is the same number whatever the data. */
async function constantChannels(known: Known, layer: Layer, channels: number): Promise<Uint8Array> {
  const { analysis, makers, uses, constant } = known;
  const found = new Uint8Array(channels);
  const axis = layer.matrix.data?.axis ?? 0;
  let value = layer.input;
  for (;;) {
    const maker = makers.get(value);
    if (maker !== undefined) {
      if (maker.axis !== axis || maker.matrix.rows !== channels) return found;
      const weights = await readMatrix(analysis.graph, maker.matrix);
      const { columns } = maker.matrix;
      for (let r = 0; r < channels; r++) {
        if (weights.subarray(r * columns, (r + 1) * columns).every((w) => w === 0)) found[r] = 1;
      }
      return found;
    }
    const node = uses.producer(value)?.node;
    const from = node?.inputs.find((name) => name !== "" && !analysis.graph.constants.has(name));
    const rank = analysis.facts.types.get(value)?.shape.length;
    if (node === undefined || from === undefined || rank === undefined) return found;
    if (!isPointwiseFunction(node)) {
      const affine = channelAffine(node, from, { rank, axis, channels }, constant);
      if (affine === null || analysis.facts.types.get(from)?.shape.length !== rank) return found;
      for (const [c, scale] of affine.scale.entries()) if (scale === 0) found[c] = 1;
    }
    value = from;
  }
}

function zeros(analysis: Analysis): Feeds {
  return new Map(
    [...analysis.inputs].map(([name, { dtype, shape }]) => [
      name,
      isFloat(dtype) ? fromFloats(dtype, shape, new Float32Array(sizeOf(shape))) : tensor(dtype, shape),
    ]),
  );
}

/** The first number of each channel. */
function firstOfEach(values: Float32Array, shape: readonly number[], axis: number): Float64Array {
  const stride = sizeOf(shape.slice(axis + 1));
  return Float64Array.from({ length: shape[axis] ?? 1 }, (_, c) => values[c * stride] ?? 0);
}
