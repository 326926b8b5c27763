import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { int, intAttr, ints } from "../../graph/attributes.ts";
import type { Node } from "../../graph/graph.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { kernelRoom, windowOf } from "../gradients/window.ts";
import type { FormulaContext } from "../spec.ts";

/**
 * Forms that keep a block of channels together in memory, [n, c / block, ...inputs, block] under the name of [n, c, ...inputs]:
 * those of com.microsoft.nchwc, which processors compute convolutions with. The runtime takes them by itself only where
 * weights are constants, and never for the gradient of weights.
 */
const domain = "com.microsoft.nchwc";

/** How a convolution moves over its input. */
export interface Moves {
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly before: readonly number[];
  readonly after: readonly number[];
}

const upTo = (n: number, step: number): number => Math.ceil(n / step) * step;

/** Share of the channels in whole blocks that are not filled up with zeros. */
const filled = (block: number, ...counts: readonly number[]): number =>
  counts.reduce((share, n) => share * (n === 0 ? 0 : n / upTo(n, block)), 1);

/** Zeros behind the first two axes, up to these sizes. */
const grown = (g: Algebra, x: Value, sizes: readonly [number, number]): Value =>
  g.pad(
    x,
    x.shape.map(() => 0),
    x.shape.map((n, i) => (sizes[i] ?? n) - n),
  );

/** x: [n, c, h, w] in blocks of channels, the last filled up with zeros; once, whoever asks. */
function blocked(g: Algebra, x: Value, block: number): Value {
  const done = g.draft.consumers(x.name).find((node) => node.domain === domain && node.op === "ReorderInput");
  if (done !== undefined) return g.of(done.outputs[0] ?? "");
  const [batch = 1, channels = 1, ...inputs] = x.shape;
  const type = { dtype: x.dtype, shape: [batch, upTo(channels, block), ...inputs] };
  // The operator fills up by itself from a multiple of 4.
  return g.op(`${domain}::ReorderInput`, [grown(g, x, [batch, upTo(channels, 4)])], {}, type);
}

/** w: [o, i, ...k], blocks of both: [o / block, i / block, ...k, block of i, block of o]. */
function blockedKernel(g: Algebra, w: Value, block: number): Value {
  const [out, channels] = [upTo(w.shape[0] ?? 1, block), upTo(w.shape[1] ?? 1, block)];
  const kernel = w.shape.slice(2);
  const split = g.reshape(grown(g, w, [out, channels]), [out / block, block, channels / block, block, sizeOf(kernel)]);
  return g.reshape(g.transpose(split, [0, 2, 4, 3, 1]), [out, channels, ...kernel]);
}

/** The same of the kernel [o, n, ...outputs] that is dy: [n, o, ...outputs]; whole blocks of o are moved. */
function blockedKernelOf(g: Algebra, dy: Value, block: number): Value {
  const x = blocked(g, dy, block);
  const [batch, out] = [upTo(x.shape[0] ?? 1, block), x.shape[1] ?? 1];
  const outputs = x.shape.slice(2);
  const split = g.reshape(grown(g, x, [batch, out]), [batch / block, block, out / block, sizeOf(outputs), block]);
  return g.reshape(g.transpose(split, [2, 0, 3, 1, 4]), [out, batch, ...outputs]);
}

/** x and kernel in blocks → [n, out, ...outputs] in the plain layout. */
function convolution(
  g: Algebra,
  [x, kernel, bias]: readonly [Value, Value, (Value | undefined)?],
  moves: Moves,
  [out, ...outputs]: readonly [number, ...number[]],
): Value {
  const [batch = 1] = x.shape;
  const [wide = 1, , ...sizes] = kernel.shape;
  const attributes = {
    kernel_shape: ints(sizes),
    strides: ints(moves.strides),
    dilations: ints(moves.dilations),
    pads: ints([...moves.before, ...moves.after]),
  };
  const y = g.op(`${domain}::Conv`, [x, kernel, ...(bias === undefined ? [] : [bias])], attributes, {
    dtype: x.dtype,
    shape: [batch, wide, ...outputs],
  });
  const type = { dtype: x.dtype, shape: [batch, out, ...outputs] };
  return g.op(`${domain}::ReorderOutput`, [y], { channels: int(out) }, type);
}

/** How a node is written with blocks of channels; null for operators that have no such form. */
export function blockedForm({ domain: of, op }: Pick<Node, "domain" | "op">): typeof blockedConv | null {
  return of === "" && op === "Conv" ? blockedConv : null;
}

/** Below this share of real channels in the blocks of both sides, the plain layout is faster. */
const fullEnough = 0.75;

/** Conv, where its channels fill their blocks; null for other forms. */
function blockedConv(c: FormulaContext, block: number): Value | null {
  const { g } = c;
  const [x, w, y] = [c.x(0), c.x(1), c.y(0)];
  const [out = 0, channels = 0, ...kernel] = w.shape;
  if (x.dtype !== "f32" || kernel.length !== 2 || intAttr(c.node, "group", 1) !== 1) return null;
  if (filled(block, out, channels) < fullEnough) return null;
  const { strides, dilations, before, after, outputs } = windowOf(c.node, kernel, x.shape, y.shape);
  const moves = { strides, dilations, before, after: after.map((n) => Math.max(n, 0)) };
  const bias = c.has(2) ? g.pad(c.x(2), [0], [upTo(out, block) - out]) : undefined;
  const operands = [blocked(g, x, block), blockedKernel(g, w, block), bias] as const;
  return convolution(g, operands, moves, [out, ...outputs]);
}

/**
 * The gradient of the kernel of a convolution, [o, i, ...k]: x convolved with dy, in which batch and channels have changed
 * places. Null where this is no faster.
 */
export function blockedKernelGradient(
  g: Algebra,
  x: Value,
  dy: Value,
  w: Moves & { readonly kernel: readonly number[] },
  block: number,
): Value | null {
  const [batch = 0, channels = 1] = x.shape;
  const [, out = 0] = dy.shape;
  if (x.dtype !== "f32" || w.kernel.length !== 2 || sizeOf(w.kernel) === 1) return null;
  if (filled(block, batch, out) < fullEnough) return null;
  const after = w.after.map((n) => Math.max(n, 0));
  const padded = g.pad(x, [0, 0, ...w.before], [upTo(batch, 4) - batch, 0, ...after]);
  const moves = { strides: w.dilations, dilations: w.strides, before: [0, 0], after: [0, 0] };
  const operands = [blocked(g, g.transpose(padded, [1, 0, 2, 3]), block), blockedKernelOf(g, dy, block)] as const;
  const found = convolution(g, operands, moves, [out, ...kernelRoom(w)]);
  const kept = g.cut(
    found,
    w.kernel.map((n, i) => ({ axis: i + 2, start: 0, end: n, step: 1 })),
  );
  return g.reshape(g.transpose(kept, [1, 0, 2, 3]), [out, channels, ...w.kernel]);
}
