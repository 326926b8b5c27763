import { type Coupling, type CouplingFacts, isBookkeeping } from "../coupling/couple.ts";
import type { Graph, Node } from "../graph/graph.ts";
import { type Operand, operandName } from "../ops/spec.ts";
import { opSpec } from "../ops/table.ts";
import { bitsOf, isFloat } from "../tensor/dtype.ts";

/** What is left of a model's size and work; exact counts, of one sample. */
export interface Cost {
  /** Trained numbers: every float initializer but the running statistics of norms. */
  readonly params: number;
  /** Multiply-accumulates of convolutions and matrix products, for one sample. */
  readonly macs: number;
  /** Stored bytes of all initializers. */
  readonly bytes: number;
}

/** Size of an axis of a value after a cut; the full size when it is not asked to differ. */
export type AxisSize = (value: string, axis: number) => number | undefined;

export interface NodeCost {
  readonly node: Node;
  readonly macs: number;
  readonly params: number;
}

export interface CostModel {
  /** Cost at full size, or with the sizes that `size` tells. */
  total(size?: AxisSize): Cost;
  /** The same by node; a parameter counts at its first use. */
  byNode(size?: AxisSize): readonly NodeCost[];
}

/** Counts parameters and multiply-accumulates from the op table. `samples` is the batch size of the analysis. */
export function costModel(graph: Graph, coupling: Coupling, facts: CouplingFacts, samples: number): CostModel {
  const working = graph.nodes.filter((node) => !isBookkeeping(node, facts));
  const notTrained = new Set<string>();
  for (const node of working) {
    for (const index of opSpec(node.domain, node.op)?.roles?.statistics ?? []) notTrained.add(node.inputs[index] ?? "");
  }
  const counted = new Set<string>();
  const parameters = new Map<Node, readonly { readonly name: string; readonly shape: readonly number[] }[]>();
  for (const node of working) {
    const own: { name: string; shape: readonly number[] }[] = [];
    for (const name of node.inputs) {
      const ref = graph.constants.get(name);
      // A scalar is a setting (a pad value, an epsilon), not a trained number.
      if (ref === undefined || ref.shape.length === 0 || counted.has(name) || notTrained.has(name)) continue;
      counted.add(name);
      if (isFloat(ref.dtype) || bitsOf(ref.dtype) <= 8) own.push({ name, shape: ref.shape });
    }
    parameters.set(node, own);
  }
  const nodeCost = (node: Node, size?: AxisSize): NodeCost => {
    let params = 0;
    for (const { name, shape } of parameters.get(node) ?? []) params += elements(name, shape, size);
    const macs = opSpec(node.domain, node.op)?.macs?.(sized(coupling, node, size)) ?? 0;
    return { node, macs: macs / samples, params };
  };
  return {
    byNode: (size) => working.map((node) => nodeCost(node, size)),
    total: (size) => {
      let params = 0;
      let macs = 0;
      for (const node of working) {
        const cost = nodeCost(node, size);
        params += cost.params;
        macs += cost.macs;
      }
      let bytes = 0;
      for (const [name, ref] of graph.constants) {
        bytes += Math.ceil((elements(name, ref.shape, size) * bitsOf(ref.dtype)) / 8);
      }
      return { params, macs, bytes };
    },
  };
}

function elements(name: string, shape: readonly number[], size?: AxisSize): number {
  let count = 1;
  for (const [axis, full] of shape.entries()) count *= size?.(name, axis) ?? full;
  return count;
}

function sized(coupling: Coupling, node: Node, size?: AxisSize): ReturnType<Coupling["context"]> {
  const context = coupling.context(node);
  if (size === undefined) return context;
  const nameOf = (operand: Operand): string => operandName(node, operand);
  return {
    ...context,
    shape: (operand) => context.shape(operand)?.map((n, axis) => size(nameOf(operand), axis) ?? n),
  };
}
