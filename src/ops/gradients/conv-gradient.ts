import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { int, intAttr, ints } from "../../graph/attributes.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { blockedKernelGradient } from "../lowerings/blocked.ts";
import type { FormulaContext, GradRule } from "../spec.ts";
import { kernelRoom, seen, type Window, windowOf } from "./window.ts";

/** What the gradients of a convolution look at. x: [n, g·i, ...inputs], w: [g·o, i, ...kernel], dy: [n, g·o, ...outputs]. */
interface Convolution {
  readonly groups: number;
  readonly window: Window;
}

/** Axes after the first two. */
const spatialAxes = (v: Value): readonly number[] => v.shape.slice(2).map((_, i) => i + 2);

/** Exchanges batch and channels. */
const swapFirst = (g: Algebra, v: Value): Value => g.transpose(v, [1, 0, ...spatialAxes(v)]);

/** True where the window is one position, and every position is seen once. */
function isPointwise({ groups, window: w }: Convolution): boolean {
  const still = [...w.kernel, ...w.strides].every((n) => n === 1);
  return groups === 1 && still && [...w.before, ...w.after].every((n) => n === 0);
}

/** w: [g·o, i, ...k] → [g·i, o, ...k], turned round on every kernel axis. */
function flipped(g: Algebra, w: Value, groups: number): Value {
  const [out = 1, local = 1, ...kernel] = w.shape;
  const turned = g.cut(
    w,
    kernel
      .map((n, i) => ({ axis: i + 2, start: n - 1, end: -1, step: n === 1 ? 1 : -1 }))
      .filter(({ step }) => step < 0),
  );
  const split = g.reshape(turned, [groups, out / groups, local, ...kernel]);
  return g.reshape(g.transpose(split, [0, 2, 1, ...kernel.map((_, i) => i + 3)]), [
    groups * local,
    out / groups,
    ...kernel,
  ]);
}

/** Σ over everything that a convolution's input contributes to: dx. */
export function dataGradient(g: Algebra, w: Value, dy: Value, { groups, window }: Convolution): Value {
  const [batch = 1, out = 1] = dy.shape;
  const channels = (w.shape[1] ?? 1) * groups;
  const type = { dtype: dy.dtype, shape: [batch, channels, ...window.inputs] };
  if (isPointwise({ groups, window })) {
    const flat = g.reshape(dy, [batch, out, sizeOf(window.outputs)]);
    return g.reshape(g.matMul(g.swapLast(g.reshape(w, [out, channels])), flat), type.shape);
  }
  const attributes = { dilations: ints(window.dilations), group: int(groups) };
  const far = window.kernel.map((n, i) => (n - 1) * (window.dilations[i] ?? 1));
  const before = far.map((n, i) => n - (window.before[i] ?? 0));
  const after = far.map((n, i) => n - (window.after[i] ?? 0));
  const dense = window.strides.every((n) => n === 1) && [...before, ...after].every((n) => n >= 0);
  if (dense && out <= 2 * channels && sizeOf(w.shape) <= sizeOf(dy.shape)) {
    return g.op("Conv", [dy, flipped(g, w, groups)], { ...attributes, pads: ints([...before, ...after]) }, type);
  }
  // Positions behind the last window's reach get nothing: the output is made longer by them.
  const unseen = window.after.map((n) => Math.max(-n, 0));
  const extra = unseen.every((n, i) => n < (window.strides[i] ?? 1));
  const pads = ints([...window.before, ...window.after.map((n) => Math.max(n, 0))]);
  const reached = window.inputs.map((n, i) => n - (extra ? 0 : (unseen[i] ?? 0)));
  const form = { ...attributes, strides: ints(window.strides), pads };
  const longer = extra && unseen.some((n) => n > 0) ? { output_padding: ints(unseen) } : {};
  const dx = g.op("ConvTranspose", [dy, w], { ...form, ...longer }, { ...type, shape: [batch, channels, ...reached] });
  return extra ? dx : g.pad(dx, [0, 0, ...unseen.map(() => 0)], [0, 0, ...unseen]);
}

/** dw[o, i, k] = Σ over batch and positions of dy[o] · what kernel position k sees of x[i]. */
function weightGradient(g: Algebra, x: Value, dy: Value, form: Convolution, channelBlock: number): Value {
  const blocked =
    channelBlock > 0 && form.groups === 1 ? blockedKernelGradient(g, x, dy, form.window, channelBlock) : null;
  if (blocked !== null) return blocked;
  const local = (x.shape[1] ?? 1) / form.groups;
  const seenOnce = (dy.shape[0] ?? 1) * sizeOf(form.window.outputs);
  if (form.groups === 1 && seenOnce <= (dy.shape[1] ?? 1)) return fromColumns(g, x, dy, form);
  if (form.groups > 1 || local >= 8) return fromSlices(g, x, dy, form);
  return sizeOf(form.window.kernel) <= 25 ? fromColumns(g, x, dy, form) : fromConvolution(g, x, dy, form);
}

/**
 * One product for each kernel position. Image by image, with a sum over the batch, where such a product is small beside
 * what it is made of; else over the whole batch at once, for which batch and channels change places.
 */
function fromSlices(g: Algebra, x: Value, dy: Value, { groups, window }: Convolution): Value {
  const [batch = 1, channels = 1] = x.shape;
  const out = dy.shape[1] ?? 1;
  const local = channels / groups;
  const positions = sizeOf(window.outputs);
  const product = (): ((part: Value) => Value) => {
    if (out * local <= 4 * positions) {
      const d = g.reshape(dy, [batch, groups, out / groups, positions]);
      return (part) => g.sum(g.matMul(d, g.swapLast(g.reshape(part, [batch, groups, local, positions]))), [0]);
    }
    const d = g.reshape(swapFirst(g, dy), [groups, out / groups, batch * positions]);
    return (part) => g.matMul(d, g.swapLast(g.reshape(part, [groups, local, batch * positions])));
  };
  const multiply = product();
  const source = out * local <= 4 * positions ? x : swapFirst(g, x);
  const taps = seen(g, source, window).map((part) => g.reshape(multiply(part), [out, local, 1]));
  return g.reshape(g.concat(taps, 2), [out, local, ...window.kernel]);
}

/**
 * One product for all kernel positions, image by image: for few channels, whose products alone would be slivers. Or over
 * the whole batch, where a weight is larger than what it saw, and putting it together is most of the work.
 */
function fromColumns(g: Algebra, x: Value, dy: Value, { window }: Convolution): Value {
  const [batch = 1, channels = 1] = x.shape;
  const out = dy.shape[1] ?? 1;
  const [taps, positions] = [sizeOf(window.kernel), sizeOf(window.outputs)];
  const atOnce = batch * positions <= out;
  const flat = (v: Value, count: number): Value =>
    g.reshape(v, atOnce ? [count, batch * positions] : [batch, count, positions]);
  const [source, d] = atOnce ? [swapFirst(g, x), swapFirst(g, dy)] : [x, dy];
  const columns = g.concat(
    seen(g, source, window).map((part) => flat(part, channels)),
    atOnce ? 0 : 1,
  );
  const products = g.matMul(flat(d, out), g.swapLast(columns));
  const product = atOnce ? products : g.sum(products, [0]);
  const moved = g.transpose(g.reshape(product, [out, taps, channels]), [0, 2, 1]);
  return g.reshape(moved, [out, channels, ...window.kernel]);
}

/** A convolution of x with dy as its kernel, channels as the batch: for large kernels over few channels. */
function fromConvolution(g: Algebra, x: Value, dy: Value, { window }: Convolution): Value {
  const channels = x.shape[1] ?? 1;
  const out = dy.shape[1] ?? 1;
  const attributes = {
    dilations: ints(window.strides),
    strides: ints(window.dilations),
    pads: ints([...window.before, ...window.after.map((n) => Math.max(n, 0))]),
  };
  const type = { dtype: x.dtype, shape: [channels, out, ...kernelRoom(window)] };
  const whole = g.op("Conv", [swapFirst(g, x), swapFirst(g, dy)], attributes, type);
  return swapFirst(
    g,
    g.cut(
      whole,
      window.kernel.map((n, i) => ({ axis: i + 2, start: 0, end: n, step: 1 })),
    ),
  );
}

const biasGradient = (c: FormulaContext, dy: Value): Value | null =>
  c.has(2) ? c.g.sum(dy, [0, ...spatialAxes(dy)]) : null;

/**
 * y = w ∗ x + b. dx is a convolution of dy with the turned kernel where the window moves by single steps, else a
 * transposed convolution; dw is made of shifted slices and matrix products. `bench/gradients.ts` times the forms.
 */
export const convGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const window = windowOf(c.node, x(1).shape.slice(2), x(0).shape, dy.shape);
  const form = { groups: intAttr(c.node, "group", 1), window };
  return [
    c.wanted(0) ? dataGradient(g, x(1), dy, form) : null,
    c.wanted(1) ? weightGradient(g, x(0), dy, form, c.channelBlock) : null,
    c.wanted(2) ? biasGradient(c, dy) : null,
  ];
};

/** The gradients of the convolution that a transposed one is the transpose of, with x and dy in each other's place. */
export const convTransposeGradient: GradRule = (c, dy) => {
  const { g, x } = c;
  const w = x(1);
  const window = transposedWindow(c, w.shape.slice(2));
  const groups = intAttr(c.node, "group", 1);
  const attributes = {
    dilations: ints(window.dilations),
    strides: ints(window.strides),
    pads: ints([...window.before, ...window.after.map((n) => Math.max(n, 0))]),
    group: int(groups),
  };
  const dx = (): Value => {
    const sizes = window.inputs.map((n, i) => {
      const room = n + (window.before[i] ?? 0) + Math.max(window.after[i] ?? 0, 0);
      const far = ((window.kernel[i] ?? 1) - 1) * (window.dilations[i] ?? 1) + 1;
      return Math.floor((room - far) / (window.strides[i] ?? 1)) + 1;
    });
    const type = { dtype: dy.dtype, shape: [...x(0).shape.slice(0, 2), ...sizes] };
    const whole = g.op("Conv", [dy, w], attributes, type);
    return g.cut(
      whole,
      window.outputs.map((n, i) => ({ axis: i + 2, start: 0, end: n, step: 1 })),
    );
  };
  return [
    c.wanted(0) ? dx() : null,
    c.wanted(1) ? weightGradient(g, dy, x(0), { groups, window }, c.channelBlock) : null,
    c.wanted(2) ? biasGradient(c, dy) : null,
  ];
};

/** The window that slides over the output of a transposed convolution and makes its input. */
function transposedWindow(c: FormulaContext, kernel: readonly number[]): Window {
  const { node } = c;
  const plain = windowOf(node, kernel, c.y(0).shape, c.x(0).shape);
  const auto = node.attributes.get("auto_pad");
  const same = auto?.kind === "string" && auto.value.startsWith("SAME") ? auto.value : null;
  if (same === null && !node.attributes.has("output_shape")) return plain;
  // The padding follows from the size of the output; the extra positions of output_padding count as covered.
  const added = node.attributes.get("output_padding");
  const extra = (i: number): number => (added?.kind === "ints" ? (added.value[i] ?? 0) : 0);
  const needed = plain.before.map((n, i) => n + (plain.after[i] ?? 0));
  const before = needed.map((n, i) => {
    const total = Math.max(n + extra(i), 0);
    return same === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
  });
  return { ...plain, before, after: needed.map((n, i) => n - (before[i] ?? 0)) };
}
