import { algebra, type SizedGraph } from "../graph/algebra/algebra.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { integerValues, shapeConstants } from "../graph/passes/specialise.ts";
import { upgrade } from "../ops/upgrade/upgrade.ts";
import { evaluate } from "../runtime/evaluate.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { isFloat } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { lowerAll } from "./lower.ts";

/**
 * The graph at fixed input types, ready to be differentiated: operators have the forms of one operator set, every value has
 * its type, sizes and indices are constants, and operators that differentiate by others are written with these. It holds
 * at these sizes only.
 */
export async function sized(
  graph: Graph,
  runtime: Runtime,
  inputs: ReadonlyMap<string, TensorType>,
): Promise<SizedGraph> {
  const given: Graph = {
    ...graph,
    inputs: graph.inputs.map((info) => {
      const type = inputs.get(info.name);
      return type === undefined ? info : { ...info, dtype: type.dtype, dims: type.shape };
    }),
    valueInfo: new Map(),
  };
  const found = await runtime.types(given, inputs);
  const fixed = await upgrade(given, found);
  const types = new Map(fixed.nodes === given.nodes ? found : await runtime.types(fixed, inputs));
  for (const [name, type] of inputs) types.set(name, type);
  for (const [name, { dtype, shape }] of fixed.constants) types.set(name, { dtype, shape });
  const values = await integerValues(fixed, types, (part, names) => evaluate(runtime, part, names));
  const small = withConstants(shapeConstants(fixed, types), values);
  const g = algebra({ graph: small, types, values });
  lowerAll(g);
  const lowered = g.finish();
  return { ...lowered, graph: removeDeadCode(lowered.graph) };
}

/** The graph with computed values as constants, in the place of the nodes that computed them. */
function withConstants(graph: Graph, values: ReadonlyMap<string, HostTensor>): Graph {
  const draft = edit(graph);
  const outputs = new Set(graph.outputs.map(({ name }) => name));
  for (const [name, value] of values) {
    const node = draft.producer(name);
    // A float may come from a parameter, which is to be trained: it stays computed.
    if (node === undefined || outputs.has(name) || isFloat(value.dtype)) continue;
    draft.replace(node, { ...node, outputs: node.outputs.map((o) => (o === name ? draft.fresh(name) : o)) });
    draft.setConstant(name, value);
  }
  return removeDeadCode(draft.finish());
}
