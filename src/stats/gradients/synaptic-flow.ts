import { gradient } from "../../autodiff/gradient.ts";
import { sized } from "../../autodiff/sized.ts";
import { algebra, type SizedGraph } from "../../graph/algebra/algebra.ts";
import type { Graph, TensorType } from "../../graph/graph.ts";
import { removeDeadCode } from "../../graph/passes/dead-code.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { type HostTensor, load, sizeOf } from "../../tensor/tensor.ts";

/** Scales of the input that are tried until the flow through a deep network fits into float32. */
const flowScales = [1, 1e-8, 1e-16, 1e-24, 1e-32] as const;

/** Less than this is no flow: the smallest float32 with all its digits. */
const leastFlow = 2 ** -126;

/** Measures the flow through graphs that differ in the numbers of their parameters alone; compiled once. */
export interface FlowMeter {
  /** By parameter, in its layout. Throws `gradient` where the flow does not fit into float32 at any scale. */
  measure(graph: Graph): Promise<ReadonlyMap<string, Float32Array>>;
  release(): Promise<void>;
}

/**
 * |w · ∂R/∂w| of each weight, where R is the sum of all outputs of the network with every float constant replaced by its
 * absolute value, on one sample of ones (SynFlow, Tanaka et al. 2020). No data. Divided by R, so that it does
 * not overflow: scores of a layer without bias then add up to 1.
 */
export async function flowMeter(
  runtime: Runtime,
  graph: Graph,
  parameters: readonly string[],
  inputs: ReadonlyMap<string, TensorType>,
): Promise<FlowMeter> {
  const model = await sized(graph, runtime, inputs);
  const g = algebra(model);
  for (const name of parameters) {
    const { dtype, shape } = g.of(name);
    g.draft.removeConstant(name);
    g.input(name, dtype, shape);
  }
  for (const [name, { dtype, shape }] of model.graph.constants) {
    if (!isFloat(dtype) || sizeOf(shape) === 1) continue;
    const readers = g.draft.consumers(name);
    g.draft.replaceUses(name, g.map("Abs", g.of(name)).name, { only: readers });
  }
  const outputs = model.graph.outputs.map(({ name }) => g.of(name)).filter(({ dtype }) => isFloat(dtype));
  const flow = g.total(outputs.map((output) => g.sum(g.cast(output, "f32"))));
  // The slope of log R is that of R divided by R; where nothing flows it is zero.
  const slopes = gradient(g, g.log(g.max(flow, leastFlow)), parameters, { unreached: "zero" });
  const scores = new Map(
    [...slopes].map(([name, slope]) => [name, g.map("Abs", g.mul(slope, g.cast(g.of(name), slope.dtype))).name]),
  );
  const whole = withOutputs(g.finish(), [...scores.values()]);
  const read = new Set(whole.nodes.flatMap((node) => node.inputs));
  const session = await runtime.compile({ ...whole, inputs: whole.inputs.filter(({ name }) => read.has(name)) });
  return {
    release: () => session.release(),
    measure: async ({ constants }) => {
      const weights = new Map<string, HostTensor>();
      for (const name of parameters) {
        const ref = constants.get(name);
        if (ref !== undefined && read.has(name)) weights.set(name, await load(ref));
      }
      for (const scale of flowScales) {
        const ones = [...inputs].map(([name, { shape }]): [string, HostTensor] => [
          name,
          float32Tensor(shape, new Float32Array(sizeOf(shape)).fill(scale)),
        ]);
        const found = await session.run(new Map([...ones.filter(([name]) => read.has(name)), ...weights]));
        const flows = new Map(parameters.map((name) => [name, toFloat32(found.get(scores.get(name) ?? "") ?? none())]));
        if ([...flows.values()].every((values) => values.every(Number.isFinite))) return flows;
      }
      const message = "expected a flow of ones through the network that fits into float32, got none at any scale.";
      throw new EspalierError("gradient", "synflow", message, "Use another criterion for this network.");
    },
  };
}

function withOutputs({ graph, types }: SizedGraph, names: readonly string[]): Graph {
  const outputs = names.map((name) => ({ name, dtype: types.get(name)?.dtype ?? null }));
  return removeDeadCode({ ...graph, outputs, valueInfo: new Map() });
}

function none(): never {
  throw new Error("an output is missing");
}
