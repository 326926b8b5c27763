import type { Coupling, CouplingFacts } from "../coupling/couple.ts";
import { int, ints } from "../graph/attributes.ts";
import type { Place } from "../graph/draft.ts";
import { type Draft, edit } from "../graph/edit.ts";
import type { Graph, Node } from "../graph/graph.ts";
import { operandName } from "../ops/spec.ts";
import { isFloat } from "../tensor/dtype.ts";
import { fromFloats, fromInts } from "../tensor/numeric.ts";
import { type Shape, sizeOf } from "../tensor/tensor.ts";
import { type Across, dependentAxes, type Kept, keptPositions, type Left, type UnitMasks } from "./kept.ts";
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
    const value = operandName(node, operand);
    const mask = kept.mask(value, axis);
    const type = facts.types.get(value);
    if (mask === null || type === undefined || !isFloat(type.dtype)) continue;
    const key = `${value} ${axis}`;
    let masking = masks.get(key);
    if (masking === undefined) {
      const across = kept.across(value, axis);
      const { shape, values } =
        across === null
          ? {
              shape: type.shape.slice(axis).map((_, i) => (i === 0 ? mask.length : 1)),
              values: Float32Array.from(mask),
            }
          : spread(across, axis, type.shape);
      masking = draft.constant(fromFloats(type.dtype, shape, values), "mask");
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
      .filter(({ node, operand, axis }) => kept.mask(operandName(node, operand), axis) !== null)
      .map((use) => use.node),
  );
  for (const node of restricted) restrict(draft, node, coupling, facts, kept);
  return draft.finish();
}

/** A mask over the axis and those that it depends on, which broadcasts to the value. */
function spread(across: Across, axis: number, full: Shape): { shape: number[]; values: Float32Array } {
  const axes = [axis, ...across.by.map((each) => each.axis)];
  const first = Math.min(...axes);
  const shape = full.slice(first).map((n, i) => (axes.includes(first + i) ? n : 1));
  const values = new Float32Array(sizeOf(shape));
  for (let i = 0; i < values.length; i++) {
    let rest = i;
    const place = new Map<number, number>();
    for (let at = shape.length - 1; at >= 0; at--) {
      const n = shape[at] ?? 1;
      place.set(first + at, rest % n);
      rest = Math.floor(rest / n);
    }
    const set = across.by.reduce((sum, each) => sum + (each.set[place.get(each.axis) ?? 0] ?? 0), 0);
    values[i] = across.left(set).mask[place.get(axis) ?? 0] ?? 0;
  }
  return { shape, values };
}

/** Runs one node on the kept positions only and spreads its results over the full axes. */
function restrict(draft: Draft, node: Node, coupling: Coupling, facts: CouplingFacts, kept: Kept): void {
  const shapeOf = (value: string): Shape => facts.types.get(value)?.shape ?? [];
  const plainAxes = (value: string): readonly (Left & { readonly axis: number })[] =>
    shapeOf(value).flatMap((_, axis) => {
      const [mask, positions] = [kept.mask(value, axis), kept.positions(value, axis)];
      const depends = kept.across(value, axis) !== null;
      return depends || mask === null || positions === null ? [] : [{ axis, mask, positions }];
    });
  const along = (now: string, axis: number, list: Int32Array, name: string, place = {}): string => {
    const indices = draft.constant(fromInts("i64", [list.length], list), "kept");
    return draft.op("Gather", [now, indices], { axis: int(axis) }, draft.fresh(name), place);
  };
  for (const [index, value] of node.inputs.entries()) {
    const shape = shapeOf(value);
    const place = { before: node };
    let now = draft.current(node).inputs[index] ?? value;
    for (const { axis, by, left } of dependentAxes(kept, value, shape.length)) {
      now = gatherAcross(draft, now, { shape, axis, by, indices: (set) => left(set).positions, place });
    }
    for (const { axis, positions } of plainAxes(value)) now = along(now, axis, positions, `${value}_kept`, place);
    draft.setInput(node, index, now);
  }
  resizeNode(draft, node, coupling, facts, kept);
  for (const value of node.outputs) {
    if (value === "") continue;
    let full = value;
    const readers = draft.consumers(value);
    for (const { axis, ...left } of plainAxes(value)) full = along(full, axis, places(left), `${value}_spread`);
    for (const { axis, by, left } of dependentAxes(kept, value, shapeOf(value).length).toReversed()) {
      const indices = (set: number): Int32Array => places(left(set));
      const shape = shapeOf(value).map((n, i) => (i === axis ? (kept.positions(value, axis)?.length ?? n) : n));
      full = gatherAcross(draft, full, { shape, axis, by, indices, place: {} });
    }
    if (full !== value) draft.replaceUses(value, full, { only: readers });
  }
}

/**
 * For each position of the full axis, where it stands among those kept. What stands at a removed position does not
 * matter: a mask follows before anything sums over it.
 */
function places({ mask, positions }: Left): Int32Array {
  const out = new Int32Array(mask.length);
  for (const [now, before] of positions.entries()) out[before] = now;
  return out;
}

interface AcrossGather {
  /** Sizes of the value, right on `axis` and on the axes of `by`. */
  readonly shape: Shape;
  readonly axis: number;
  readonly by: Across["by"];
  readonly indices: (set: number) => Int32Array;
  readonly place: Place;
}

/** Gathers along one axis what the position on others asks for: with all of them moved to the end and merged into one. */
function gatherAcross(draft: Draft, value: string, { shape, axis, by, indices, place }: AcrossGather): string {
  const moved = [...by.map((each) => each.axis), axis];
  const rest = shape.map((_, i) => i).filter((i) => !moved.includes(i));
  const sizes = moved.map((i) => shape[i] ?? 1);
  const outer = sizeOf(sizes.slice(0, -1));
  const n = sizes.at(-1) ?? 1;
  const flat: number[] = [];
  for (let o = 0; o < outer; o++) {
    let left = o;
    let set = 0;
    for (const each of by.toReversed()) {
      const size = shape[each.axis] ?? 1;
      set += each.set[left % size] ?? 0;
      left = Math.floor(left / size);
    }
    for (const index of indices(set)) flat.push(o * n + index);
  }
  const perm = [...rest, ...moved];
  const copied = rest.map(() => 0);
  const add = (op: string, inputs: readonly string[], attributes = {}): string =>
    draft.op(op, inputs, attributes, draft.fresh(`${value}_across`), place);
  const turned = add("Transpose", [value], { perm: ints(perm) });
  const merged = add("Reshape", [turned, draft.int64([...copied, outer * n])]);
  const list = draft.constant(fromInts("i64", [flat.length], flat), "kept");
  const taken = add("Gather", [merged, list], { axis: int(rest.length) });
  const open = add("Reshape", [taken, draft.int64([...copied, ...sizes.slice(0, -1), flat.length / outer])]);
  return add("Transpose", [open], { perm: ints(perm.map((_, i) => perm.indexOf(i))) });
}
