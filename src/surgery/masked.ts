import type { Coupling, CouplingFacts } from "../coupling/couple.ts";
import { type Draft, edit } from "../graph/edit.ts";
import type { Graph, Node } from "../graph/graph.ts";
import type { Operand } from "../ops/spec.ts";
import { isFloat } from "../tensor/dtype.ts";
import { fromFloats, fromInts } from "../tensor/numeric.ts";
import { type Kept, keptPositions, type UnitMasks } from "./kept.ts";
import { resizeNode } from "./resize.ts";

/**
 * The reference of the law of surgery: the original graph with a 0/1 mask multiplied in before every operator that
 * sums over a cut axis. An operator that takes statistics over a cut axis is restricted to the kept positions.
 */
export function masked(graph: Graph, coupling: Coupling, facts: CouplingFacts, units: UnitMasks): Graph {
  const kept = keptPositions(coupling, units);
  const draft = edit(graph);
  const masks = new Map<string, string>();
  for (const { node, operand, axis } of coupling.sums) {
    const value = nameOf(node, operand);
    const mask = kept.mask(value, axis);
    const type = facts.types.get(value);
    if (mask === null || type === undefined || !isFloat(type.dtype)) continue;
    const shape = type.shape.slice(axis).map((_, i) => (i === 0 ? mask.length : 1));
    const key = `${value} ${axis}`;
    let masking = masks.get(key);
    if (masking === undefined) {
      masking = draft.constant(fromFloats(type.dtype, shape, Float32Array.from(mask)), "mask");
      masks.set(key, masking);
    }
    const now = draft.current(node).inputs[operand.index] ?? value;
    draft.setInput(
      node,
      operand.index,
      draft.op("Mul", [now, masking], {}, draft.fresh(`${value}_masked`), { before: node }),
    );
  }
  const restricted = new Set(
    coupling.restricts
      .filter(({ node, operand, axis }) => kept.mask(nameOf(node, operand), axis) !== null)
      .map((use) => use.node),
  );
  for (const node of restricted) restrict(draft, node, coupling, facts, kept);
  return draft.finish();
}

function nameOf(node: Node, operand: Operand): string {
  return (operand.side === "input" ? node.inputs : node.outputs)[operand.index] ?? "";
}

/** Runs one node on the kept positions only and spreads its results over the full axes. */
function restrict(draft: Draft, node: Node, coupling: Coupling, facts: CouplingFacts, kept: Kept): void {
  const rankOf = (value: string): number => facts.types.get(value)?.shape.length ?? 0;
  for (const [index, value] of node.inputs.entries()) {
    let now = draft.current(node).inputs[index] ?? value;
    for (let axis = 0; axis < rankOf(value); axis++) {
      const positions = kept.positions(value, axis);
      if (positions === null) continue;
      const list = draft.constant(fromInts("i64", [positions.length], positions), "kept");
      now = draft.op("Gather", [now, list], { axis: { kind: "int", value: axis } }, draft.fresh(`${value}_kept`), {
        before: node,
      });
      draft.setInput(node, index, now);
    }
  }
  resizeNode(draft, node, coupling, facts, kept);
  for (const value of node.outputs) {
    if (value === "") continue;
    let full = value;
    const readers = draft.consumers(value);
    for (let axis = 0; axis < rankOf(value); axis++) {
      const mask = kept.mask(value, axis);
      if (mask === null) continue;
      // What stands at a removed position does not matter: a mask follows before anything sums over it.
      let next = -1;
      const places = Array.from(mask, (keep) => Math.max(0, keep === 1 ? ++next : 0));
      const list = draft.constant(fromInts("i64", [places.length], places), "spread");
      full = draft.op("Gather", [full, list], { axis: { kind: "int", value: axis } }, draft.fresh(`${value}_spread`));
    }
    if (full !== value) draft.replaceUses(value, full, { only: readers });
  }
}
