import type { Range, Value } from "../../graph/algebra/algebra.ts";
import { int, intAttr, intsAttr, stringAttr } from "../../graph/attributes.ts";
import { axisOf, intsOf } from "../axis-rules.ts";
import { type FormulaContext, type GradContext, type GradRule, input, type NodeContext } from "../spec.ts";
import { addElements, addRows, putBack, rowsNamed, sendBack, sendBackLookups } from "./place.ts";

const axisAttribute = (c: FormulaContext, absent: number): number =>
  axisOf(c.x(0).shape.length, intAttr(c.node, "axis", absent));

/** Each part gets its own segment. */
export const concatGradient: GradRule = (c, dy) => {
  const axis = axisAttribute(c, 1);
  let from = 0;
  return c.node.inputs.map((_, i) => {
    const start = from;
    from += c.x(i).shape[axis] ?? 0;
    return c.wanted(i) ? c.g.slice(dy, axis, start, from) : null;
  });
};

/** The segments are joined; parts that nobody read count as zero. */
export const splitGradient: GradRule = (c) => {
  const { g } = c;
  const axis = axisAttribute(c, 0);
  const read = c.node.outputs.flatMap((_, i) => (c.dy(i) === null ? [] : [i]));
  const [first = 0] = read;
  if (read.length === 1) {
    const sizes = c.node.outputs.map((name) => (name === "" ? 0 : (g.of(name).shape[axis] ?? 0)));
    const start = sizes.slice(0, first).reduce((sum, n) => sum + n, 0);
    const dy = c.dy(first);
    const range = { axis, start, end: start + (sizes[first] ?? 0), step: 1 };
    return [dy === null ? null : putBack(g, dy, c.x(0).shape, [range])];
  }
  const parts = c.node.outputs.map((_, i) => c.dy(i) ?? g.expand(0, c.y(i).shape, c.y(i).dtype));
  return [g.concat(parts, axis)];
};

/** The ranges of a Slice with both bounds inside the input, backwards too. */
function rangesOf(c: FormulaContext): readonly Range[] {
  const { shape } = c.x(0);
  const starts = intsOf(c, "starts", 1);
  const ends = intsOf(c, "ends", 2);
  const axes = c.has(3) || c.node.attributes.has("axes") ? intsOf(c, "axes", 3) : starts?.map((_, i) => i);
  const steps = c.has(4) ? intsOf(c, "steps", 4) : starts?.map(() => 1);
  if (starts === undefined || ends === undefined || axes === undefined || steps === undefined) {
    return c.refuse("its range depends on the data");
  }
  return starts.map((first, i) => {
    const axis = axisOf(shape.length, axes[i] ?? i);
    const size = shape[axis] ?? 0;
    const step = steps[i] ?? 1;
    const [low, high] = step > 0 ? [0, size] : [-1, size - 1];
    const clamp = (n: number): number => Math.min(Math.max(n < 0 ? n + size : n, low), high);
    return { axis, start: Math.max(clamp(first), 0), end: clamp(ends[i] ?? size), step };
  });
}

/** What was taken goes back to its places. */
export const sliceGradient: GradRule = (c, dy) => [putBack(c.g, dy, c.x(0).shape, rangesOf(c))];

/** The pads of each axis as [before, after]; undefined where they depend on the data. */
export function padsOf(c: NodeContext): readonly (readonly [number, number])[] | undefined {
  const rank = c.shape(input(0))?.length ?? 0;
  const pads = intsOf(c, "pads", 1) ?? intsAttr(c.node, "paddings", undefined);
  const axes = (c.node.inputs[3] ?? "") === "" ? Array.from({ length: rank }, (_, i) => i) : intsOf(c, "axes", 3);
  if (pads === undefined || axes === undefined) return undefined;
  const all = Array.from({ length: rank }, (): readonly [number, number] => [0, 0]);
  for (const [i, axis] of axes.entries()) all[axisOf(rank, axis)] = [pads[i] ?? 0, pads[i + axes.length] ?? 0];
  return all;
}

/** Which position of an axis of `size` each position of the padded axis shows. */
function shown(mode: string, size: number, before: number, after: number): readonly number[] {
  return Array.from({ length: before + size + after }, (_, i) => {
    const at = i - before;
    if (mode === "edge") return Math.min(Math.max(at, 0), size - 1);
    const period = mode === "wrap" ? size : Math.max(2 * size - 2, 1);
    const turn = ((at % period) + period) % period;
    return turn < size ? turn : period - turn;
  });
}

/** Padding that repeats positions adds up the gradients of all their copies; constant padding drops its own. */
export const padGradient: GradRule = (c, dy) => {
  const { g } = c;
  const { shape } = c.x(0);
  const pads = padsOf(c) ?? c.refuse("its pads depend on the data");
  const mode = stringAttr(c.node, "mode", "constant");
  if (mode !== "constant") {
    let dx = dy;
    for (const [axis, [before, after]] of pads.entries()) {
      if (before === 0 && after === 0) continue;
      dx = sendBack(g, dx, axis, shown(mode, shape[axis] ?? 1, before, after), shape[axis] ?? 1);
    }
    return [dx];
  }
  const inner = g.cut(
    dy,
    pads.map(([before, after], axis) => ({
      axis,
      start: Math.max(before, 0),
      end: (dy.shape[axis] ?? 0) - Math.max(after, 0),
      step: 1,
    })),
  );
  const cropped = (side: 0 | 1): readonly number[] => pads.map((pad) => Math.max(-pad[side], 0));
  const fill = (): Value => g.sub(g.sum(dy), g.sum(inner));
  return [g.pad(inner, cropped(0), cropped(1)), null, c.wanted(2) ? fill() : null];
};

/** Rows that were looked up get what arrives at every place that shows them. */
export const gatherGradient: GradRule = (c, dy) => {
  const { g } = c;
  const { shape } = c.x(0);
  const axis = axisAttribute(c, 0);
  const indices = c.x(1);
  const size = shape[axis] ?? 1;
  const known = intsOf(c, "", 1);
  if (known === undefined) return [sendBackLookups(g, dy, indices, axis, shape)];
  const flat = g.reshape(dy, [...shape.slice(0, axis), known.length, ...shape.slice(axis + 1)]);
  return [
    sendBack(
      g,
      flat,
      axis,
      known.map((n) => axisOf(size, n)),
      size,
    ),
  ];
};

export const gatherElementsGradient: GradRule = (c, dy) => {
  const x = c.x(0);
  return [addElements(c.g, c.g.expand(0, x.shape, dy.dtype), c.x(1), dy, axisAttribute(c, 0))];
};

/** "add" as the only other way to combine; with "none", what was written over gets nothing. */
function addsOrRefuse(c: GradContext): boolean {
  const reduction = stringAttr(c.node, "reduction", "none");
  if (reduction !== "none" && reduction !== "add") c.refuse(`its reduction is "${reduction}"`);
  return reduction === "add";
}

export const scatterElementsGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const adds = addsOrRefuse(c);
  const attributes = { axis: int(axisAttribute(c, 0)) };
  const zeros = (): Value => g.expand(0, x(1).shape, dy.dtype);
  return [
    adds || !c.wanted(0) ? dy : g.op("ScatterElements", [dy, x(1), zeros()], attributes, dy),
    null,
    c.wanted(2) ? g.op("GatherElements", [dy, x(1)], attributes, { dtype: dy.dtype, shape: x(1).shape }) : null,
  ];
};

/** y[..., i] = x[indices[..., i]]: rows of x are numbered, and what arrives is added to them. */
export const gatherNdGradient: GradRule = (c, dy) => {
  const { g } = c;
  const { shape } = c.x(0);
  const batch = intAttr(c.node, "batch_dims", 0);
  const depth = c.x(1).shape.at(-1) ?? 1;
  const count = shape.slice(0, batch + depth).reduce((product, n) => product * n, 1);
  const rows = rowsNamed(g, c.x(1), shape, batch);
  const [n = 1] = rows.shape;
  const size = dy.shape.reduce((product, m) => product * m, 1);
  return [g.reshape(addRows(g, g.reshape(dy, [n, size / n]), rows, count), shape)];
};

export const scatterNdGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const adds = addsOrRefuse(c);
  const zeros = (): Value => g.expand(0, x(2).shape, dy.dtype);
  return [
    adds || !c.wanted(0) ? dy : g.op("ScatterND", [dy, x(1), zeros()], {}, dy),
    null,
    c.wanted(2) ? g.op("GatherND", [dy, x(1)], {}, { dtype: dy.dtype, shape: x(2).shape }) : null,
  ];
};
