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

/** Something that is counted: a node with the parameters that it is the first to use, or what is stored of a constant. */
export interface CostPart {
  /** Values whose axes decide its cost. */
  readonly values: readonly string[];
  /** `macs` are those of all samples of the analysis together. */
  count(size?: AxisSize): Cost;
}

export interface CostModel {
  /** What all counts are sums of. */
  readonly parts: readonly CostPart[];
  /** Samples that multiply-accumulates are divided by in the end, so that sums stay whole numbers. */
  readonly samples: number;
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
  const nodes = working.map((node) => {
    const own: { name: string; shape: readonly number[] }[] = [];
    for (const name of node.inputs) {
      const ref = graph.constants.get(name);
      // A scalar is a setting (a pad value, an epsilon), not a trained number.
      if (ref === undefined || ref.shape.length === 0 || counted.has(name) || notTrained.has(name)) continue;
      counted.add(name);
      if (isFloat(ref.dtype) || bitsOf(ref.dtype) <= 8) own.push({ name, shape: ref.shape });
    }
    const count = (size?: AxisSize): Cost => ({
      params: own.reduce((sum, { name, shape }) => sum + elements(name, shape, size), 0),
      macs: opSpec(node.domain, node.op)?.macs?.(sized(coupling, node, size)) ?? 0,
      bytes: 0,
    });
    return { node, values: [...node.inputs, ...node.outputs], count };
  });
  const stored = [...graph.constants].map(([name, { shape, dtype }]): CostPart => {
    const bits = bitsOf(dtype);
    const count = (size?: AxisSize) => ({
      params: 0,
      macs: 0,
      bytes: Math.ceil((elements(name, shape, size) * bits) / 8),
    });
    return { values: [name], count };
  });
  const parts: readonly CostPart[] = [...nodes, ...stored];
  return {
    parts,
    samples,
    byNode: (size) =>
      nodes.map(({ node, count }) => {
        const { params, macs } = count(size);
        return { node, params, macs: macs / samples };
      }),
    total: (size) => {
      let [params, macs, bytes] = [0, 0, 0];
      for (const part of parts) {
        const cost = part.count(size);
        params += cost.params;
        macs += cost.macs;
        bytes += cost.bytes;
      }
      return { params, macs: macs / samples, bytes };
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
