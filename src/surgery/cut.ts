import { type Coupling, type CouplingFacts, isBookkeeping } from "../coupling/couple.ts";
import { edit } from "../graph/edit.ts";
import type { Graph, ValueInfo } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { isFloat } from "../tensor/dtype.ts";
import { takeAcross, takeMany } from "../tensor/slice.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import { dependentAxes, type Kept, keptPositions, type UnitMasks } from "./kept.ts";
import { resizeNode } from "./resize.ts";

/** Physically removes the units whose mask is 0: parameters are sliced, sizes that nodes state are rewritten. */
export async function cut(graph: Graph, coupling: Coupling, facts: CouplingFacts, units: UnitMasks): Promise<Graph> {
  const kept = keptPositions(coupling, units);
  const draft = edit(graph);
  const cut = new Map<string, HostTensor>();
  for (const name of graph.constants.keys()) await cutConstant(name);
  const frozen = new Map<string, string>();
  for (const node of graph.nodes) {
    if (isBookkeeping(node, facts)) continue;
    resizeNode(draft, node, coupling, facts, kept, cut);
    for (const [index, name] of node.inputs.entries()) {
      // A number computed from sizes, such as a scale, keeps the value that it had before the cut.
      const value = facts.values.get(name);
      if (value === undefined || graph.constants.has(name) || !isFloat(value.dtype)) continue;
      if (!isBookkeepingValue(name)) continue;
      let constant = frozen.get(name);
      if (constant === undefined) {
        constant = draft.constant(kept.touches(name) ? cutTensor(value, name, kept) : value, `${name}_fixed`);
        frozen.set(name, constant);
      }
      draft.setInput(node, index, constant);
    }
  }
  declareTypes();
  return removeDeadCode(draft.finish());

  function isBookkeepingValue(name: string): boolean {
    const producer = draft.producer(name);
    return producer !== undefined && isBookkeeping(producer, facts);
  }

  async function cutConstant(name: string): Promise<void> {
    const ref = graph.constants.get(name);
    if (ref === undefined) return;
    if (!kept.touches(name)) return;
    const left = cutTensor(await load(ref), name, kept);
    draft.setConstant(name, left);
    cut.set(name, left);
  }

  function declareTypes(): void {
    const resized = ({ name, dims, ...info }: ValueInfo): ValueInfo => ({
      ...info,
      name,
      ...(dims === undefined ? {} : { dims: dims.map((n, i) => kept.positions(name, i)?.length ?? n) }),
    });
    draft.setOutputs(graph.outputs.map(resized));
    for (const [name, info] of graph.valueInfo) if (kept.touches(name)) draft.setType(name, resized(info));
  }
}

/** The kept positions of all axes of a value. */
function cutTensor(tensor: HostTensor, name: string, kept: Kept): HostTensor {
  let now = tensor;
  const plain: { axis: number; indices: Int32Array }[] = [];
  for (const { axis, by, left } of dependentAxes(kept, name, tensor.shape.length))
    now = takeAcross(now, { axis, by, indices: (set) => left(set).positions });
  for (let axis = 0; axis < tensor.shape.length; axis++) {
    const indices = kept.across(name, axis) === null ? kept.positions(name, axis) : null;
    if (indices !== null) plain.push({ axis, indices });
  }
  return plain.length === 0 ? now : takeMany(now, plain);
}
