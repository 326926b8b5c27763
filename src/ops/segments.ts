import { intAttr, intsAttr, stringAttr } from "../graph/attributes.ts";
import { axisOf, blockAxis, intsOf, need, tie } from "./axis-rules.ts";
import {
  concatGradient,
  gatherElementsGradient,
  gatherGradient,
  gatherNdGradient,
  padGradient,
  padsOf,
  scatterElementsGradient,
  scatterNdGradient,
  sliceGradient,
  splitGradient,
} from "./gradients/segments-gradient.ts";
import { type Axis, type AxisContext, type Gradient, input, type NodeContext, type OpSpec, output } from "./spec.ts";

const plain = { resize: null, macs: null, kernels: null, roles: null } as const;

/** Positions kept below `position` on an axis: where a boundary lies after a cut. Below and above it they may be in any order. */
function boundary(kept: Int32Array | null, position: number): number {
  if (kept === null) return position;
  let low = 0;
  let high = kept.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((kept[middle] ?? 0) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Every axis but one is shared by two operands. */
function others(c: AxisContext, x: readonly Axis[], y: readonly Axis[], axis: number): void {
  for (const [i, term] of x.entries()) if (i !== axis) tie(c, term, y[i]);
}

export const concat: OpSpec = {
  ...plain,
  grad: concatGradient,
  axes: (c) => {
    const y = need(c, output(0));
    const axis = axisOf(y.length, intAttr(c.node, "axis", 1));
    const parts: Axis[] = [];
    for (let i = 0; i < c.node.inputs.length; i++) {
      const x = need(c, input(i));
      others(c, x, y, axis);
      const part = x[axis];
      if (part !== undefined) parts.push(part);
    }
    tie(c, y[axis], c.concat(parts));
  },
};

export const split: OpSpec = {
  ...plain,
  grad: splitGradient,
  axes: (c) => {
    const x = need(c, input(0));
    const axis = axisOf(x.length, intAttr(c.node, "axis", 0));
    const parts: Axis[] = [];
    for (let i = 0; i < c.node.outputs.length; i++) {
      const y = c.axes(output(i));
      if (y === undefined) return blockAxis(c, x[axis], "a Split with an unused part");
      others(c, x, y, axis);
      const part = y[axis];
      if (part !== undefined) parts.push(part);
    }
    tie(c, x[axis], c.concat(parts));
  },
  resize: (c) => {
    const rank = c.shape(input(0))?.length ?? 0;
    const axis = axisOf(rank, intAttr(c.node, "axis", 0));
    if (c.kept(input(0), axis) === null) return {};
    const sizes = c.node.outputs.map((_, i) => c.newShape(output(i))?.[axis] ?? 0);
    if (c.opset < 13) return { attributes: { split: sizes } };
    return { attributes: { num_outputs: null }, operands: new Map([[1, sizes]]) };
  },
};

interface Range {
  readonly axis: number;
  readonly start: number;
  readonly end: number;
  readonly step: number;
}

/** The ranges of a Slice, normalised; undefined where they depend on the data. */
function ranges(c: NodeContext): readonly Range[] | undefined {
  const shape = c.shape(input(0));
  const starts = intsOf(c, "starts", 1);
  const ends = intsOf(c, "ends", 2);
  if (shape === undefined || starts === undefined || ends === undefined) return undefined;
  const named = intsOf(c, "axes", 3);
  if (named === undefined && (c.node.inputs[3] ?? "") !== "") return undefined;
  const steps = intsAttr(c.node, "starts", undefined) === undefined ? intsOf(c, "steps", 4) : undefined;
  return starts.map((first, i) => {
    const axis = axisOf(shape.length, named?.[i] ?? i);
    const size = shape[axis] ?? 0;
    const step = steps?.[i] ?? 1;
    const clamp = (n: number) => Math.min(Math.max(n < 0 ? n + size : n, 0), size);
    return { axis, start: clamp(first), end: clamp(ends[i] ?? size), step };
  });
}

export const slice: OpSpec = {
  ...plain,
  grad: sliceGradient,
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    const cuts = ranges(c);
    if (cuts === undefined) {
      for (const axis of [...x, ...y]) c.block(axis, "a Slice whose range depends on the data");
      return;
    }
    const cut = new Map(cuts.map((range) => [range.axis, range]));
    for (const [i, axis] of x.entries()) {
      const target = y[i];
      const range = cut.get(i);
      if (target === undefined) continue;
      if (range === undefined || target.size === axis.size) {
        if (range === undefined || range.step > 0) c.unify(axis, target);
        else for (const term of [axis, target]) c.block(term, "a Slice reverses it");
      } else if (c.dynamic(output(0), i) || c.dynamic(input(0), i)) {
        for (const term of [axis, target]) c.block(term, "a Slice whose range follows the input's size");
      } else if (range.step === 1) {
        const before = c.fresh(range.start);
        const after = c.fresh(axis.size - range.start - target.size);
        c.unify(axis, c.concat([before, target, after]));
      } else if (range.step > 1 && range.start < range.step && axis.size === target.size * range.step) {
        const phase = c.fresh(range.step);
        c.block(phase, "a Slice takes every n-th position");
        c.unify(axis, c.product([target, phase]));
      } else for (const term of [axis, target]) c.block(term, "a Slice with a step");
    }
  },
  resize: (c) => {
    const cuts = ranges(c);
    if (cuts === undefined || cuts.every(({ axis }) => c.kept(input(0), axis) === null)) return {};
    const starts = cuts.map((r) => (r.step === 1 ? boundary(c.kept(input(0), r.axis), r.start) : r.start));
    const ends = cuts.map((r) => {
      const kept = c.kept(input(0), r.axis);
      const size = c.shape(input(0))?.[r.axis] ?? 0;
      // The end of an axis that was not cut may be the end of a dynamic size.
      if (kept === null) return r.end === size ? Number.MAX_SAFE_INTEGER : r.end;
      return r.step === 1 ? boundary(kept, r.end) : (c.newShape(input(0))?.[r.axis] ?? 0);
    });
    if (intsAttr(c.node, "starts", undefined) !== undefined) return { attributes: { starts, ends } };
    return {
      operands: new Map([
        [1, starts],
        [2, ends],
      ]),
    };
  },
};

/** Constant padding puts new segments around an axis; other modes copy positions, so those axes stay whole. */
export const pad: OpSpec = {
  ...plain,
  grad: padGradient,
  axes: (c) => {
    const x = need(c, input(0));
    const y = need(c, output(0));
    const pads = padsOf(c);
    const constant = stringAttr(c.node, "mode", "constant") === "constant";
    for (const [i, axis] of x.entries()) {
      const target = y[i];
      if (target === undefined) continue;
      const [before, after] = pads?.[i] ?? [Number.NaN, Number.NaN];
      if (before === 0 && after === 0) c.unify(axis, target);
      else if (constant && before >= 0 && after >= 0) {
        c.unify(target, c.concat([c.fresh(before), axis, c.fresh(after)]));
      } else for (const term of [axis, target]) c.block(term, "padding that repeats or cuts positions");
    }
  },
  resize: (c) => {
    const pads = padsOf(c);
    if (pads === undefined || pads.every((_, i) => c.kept(output(0), i) === null)) return {};
    const before: number[] = [];
    const after: number[] = [];
    for (const [i, [first, last]] of pads.entries()) {
      const kept = c.kept(output(0), i);
      const size = c.shape(output(0))?.[i] ?? 0;
      before.push(kept === null ? first : boundary(kept, first));
      after.push(kept === null ? last : kept.length - boundary(kept, size - last));
    }
    const list = [...before, ...after];
    if (intsAttr(c.node, "pads", undefined) !== undefined) return { attributes: { pads: list } };
    if (intsAttr(c.node, "paddings", undefined) !== undefined) return { attributes: { paddings: list } };
    const axes = before.map((_, i) => i);
    return {
      operands: new Map<number, readonly number[]>(
        (c.node.inputs[3] ?? "") === ""
          ? [[1, list]]
          : [
              [1, list],
              [3, axes],
            ],
      ),
    };
  },
};

/** Longest list of ascending runs that a constant index may have before its axis counts as shuffled. */
const MAX_RUNS = 64;

/** Ascending runs [start, length] of an index list. */
function runs(indices: readonly number[]): readonly (readonly [number, number])[] {
  const out: [number, number][] = [];
  for (const index of indices) {
    const last = out.at(-1);
    if (last !== undefined && last[0] + last[1] === index) last[1]++;
    else out.push([index, 1]);
  }
  return out;
}

/**
 * data: [..., n, ...] picked along `axis`. A constant list of positions is a concatenation of pieces of the axis;
 * an index that depends on the data (an embedding) leaves the axis whole.
 */
export const gather: OpSpec = {
  ...plain,
  grad: gatherGradient,
  roles: { table: 0 },
  axes: (c) => {
    const data = need(c, input(0));
    const index = need(c, input(1));
    const y = need(c, output(0));
    const axis = axisOf(data.length, intAttr(c.node, "axis", 0));
    const picked = data[axis];
    for (const [i, term] of data.entries()) {
      if (i !== axis) tie(c, term, y[i < axis ? i : i + index.length - 1]);
    }
    for (const [i, term] of index.entries()) if (c.value(input(1).index) === undefined) tie(c, term, y[axis + i]);
    if (picked === undefined) return;
    const listed = index.length === 1 ? intsOf(c, "", 1)?.map((n) => (n < 0 ? n + picked.size : n)) : undefined;
    const pieces = listed === undefined ? [] : runs(listed);
    const target = y[axis];
    if (listed === undefined || target === undefined || pieces.length > MAX_RUNS) {
      c.block(picked, "positions are looked up on it");
      for (let i = 0; i < index.length; i++) blockAxis(c, y[axis + i], "positions are looked up on it");
      return;
    }
    const bounds = [...new Set([0, picked.size, ...pieces.flatMap(([start, length]) => [start, start + length])])];
    bounds.sort((a, b) => a - b);
    const segments = new Map<number, Axis>();
    for (const [i, start] of bounds.slice(0, -1).entries()) segments.set(start, c.fresh((bounds[i + 1] ?? 0) - start));
    c.unify(picked, c.concat([...segments.values()]));
    const taken = pieces.flatMap(([start, length]) =>
      [...segments].filter(([from]) => from >= start && from < start + length).map(([, segment]) => segment),
    );
    c.unify(target, c.concat(taken));
  },
  resize: (c) => {
    const rank = c.shape(input(0))?.length ?? 0;
    const axis = axisOf(rank, intAttr(c.node, "axis", 0));
    const kept = c.kept(input(0), axis);
    const listed = intsOf(c, "", 1);
    if (kept === null || listed === undefined) return {};
    const size = c.shape(input(0))?.[axis] ?? 0;
    const moved = runs(listed.map((n) => (n < 0 ? n + size : n))).flatMap(([start, length]) => {
      const from = boundary(kept, start);
      return Array.from({ length: boundary(kept, start + length) - from }, (_, i) => from + i);
    });
    return { operands: new Map([[1, moved]]) };
  },
};

/** GatherElements and ScatterElements: positions on `axis` are looked up, other axes are shared. */
const elementsAlong = (grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c: AxisContext) => {
    const data = need(c, input(0));
    const axis = axisOf(data.length, intAttr(c.node, "axis", 0));
    const operands = [...c.node.inputs.slice(1).map((_, i) => input(i + 1)), output(0)];
    for (const operand of operands) {
      const terms = c.axes(operand);
      for (const [i, term] of (terms ?? []).entries()) {
        const same = data[i];
        if (i === axis) c.block(term, "positions are looked up on it");
        else if (same !== undefined && same.size === term.size) c.unify(term, same);
        else {
          c.block(term, "positions are looked up on it");
          blockAxis(c, same, "positions are looked up on it");
        }
      }
    }
    blockAxis(c, data[axis], "positions are looked up on it");
  },
});

export const gatherElements: OpSpec = elementsAlong(gatherElementsGradient);
export const scatterElements: OpSpec = elementsAlong(scatterElementsGradient);

/** GatherND and ScatterND: lists of positions lead into the first axes of the data; the axes behind these are shared. */
const placesNamed = (grad: Gradient): OpSpec => ({
  ...plain,
  grad,
  axes: (c) => {
    const data = need(c, input(0));
    const indices = need(c, input(1));
    const batch = intAttr(c.node, "batch_dims", 0);
    const depth = batch + (indices.at(-1)?.size ?? 1);
    for (const term of [...data.slice(0, depth), ...indices]) c.block(term, "positions are looked up on it");
    for (const operand of [input(2), output(0)]) {
      const terms = c.axes(operand) ?? [];
      const shared = data.slice(depth);
      for (const [i, term] of terms.entries()) {
        const same = shared[i - terms.length + shared.length];
        if (same !== undefined) c.unify(term, same);
        else c.block(term, "positions are looked up on it");
      }
    }
  },
});

export const gatherNd: OpSpec = placesNamed(gatherNdGradient);
export const scatterNd: OpSpec = placesNamed(scatterNdGradient);
