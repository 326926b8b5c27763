import type { Algebra, Value } from "../../graph/algebra.ts";
import { int, intAttr, ints } from "../../graph/attributes.ts";
import type { Node } from "../../graph/graph.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { windowOf } from "../gradients/window.ts";
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

/** x: [n, c, h, w] in blocks of channels. */
const blocked = (g: Algebra, x: Value): Value => g.op(`${domain}::ReorderInput`, [x], {}, x);

/** w: [o, i, ...k], blocks of both: [o / block, i / block, ...k, block of i, block of o]. */
function blockedKernel(g: Algebra, w: Value, block: number): Value {
  const [out = 1, channels = 1, ...kernel] = w.shape;
  const split = g.reshape(w, [out / block, block, channels / block, block, sizeOf(kernel)]);
  return g.reshape(g.transpose(split, [0, 2, 4, 3, 1]), w.shape);
}

/** The same of the kernel [o, n, ...outputs] that is dy: [n, o, ...outputs]; whole blocks of o are moved. */
function blockedKernelOf(g: Algebra, dy: Value, block: number): Value {
  const [batch = 1, out = 1, ...outputs] = dy.shape;
  const split = g.reshape(blocked(g, dy), [batch / block, block, out / block, sizeOf(outputs), block]);
  return g.reshape(g.transpose(split, [2, 0, 3, 1, 4]), [out, batch, ...outputs]);
}

/** x and kernel in blocks → [n, o, ...outputs] in the plain layout. */
function convolution(
  g: Algebra,
  [x, kernel, bias]: readonly [Value, Value, Value?],
  moves: Moves,
  outputs: readonly number[],
): Value {
  const [batch = 1] = x.shape;
  const [out = 1, , ...sizes] = kernel.shape;
  const attributes = {
    kernel_shape: ints(sizes),
    strides: ints(moves.strides),
    dilations: ints(moves.dilations),
    pads: ints([...moves.before, ...moves.after]),
  };
  const type = { dtype: x.dtype, shape: [batch, out, ...outputs] };
  const y = g.op(`${domain}::Conv`, [x, kernel, ...(bias === undefined ? [] : [bias])], attributes, type);
  return g.op(`${domain}::ReorderOutput`, [y], { channels: int(out) }, type);
}

const whole = (block: number, ...counts: readonly number[]): boolean => counts.every((n) => n > 0 && n % block === 0);

/** How a node is written with blocks of channels; null for operators that have no such form. */
export function blockedForm({ domain: of, op }: Pick<Node, "domain" | "op">): typeof blockedConv | null {
  return of === "" && op === "Conv" ? blockedConv : null;
}

/** Conv, where its channels are whole blocks; null for other forms. */
function blockedConv(c: FormulaContext, block: number): Value | null {
  const { g } = c;
  const [x, w, y] = [c.x(0), c.x(1), c.y(0)];
  const [out = 0, channels = 0, ...kernel] = w.shape;
  if (x.dtype !== "f32" || kernel.length !== 2 || intAttr(c.node, "group", 1) !== 1) return null;
  if (!whole(block, out, channels)) return null;
  const { strides, dilations, before, after, outputs } = windowOf(c.node, kernel, x.shape, y.shape);
  const moves = { strides, dilations, before, after: after.map((n) => Math.max(n, 0)) };
  const operands = [blocked(g, x), blockedKernel(g, w, block)] as const;
  return convolution(g, c.has(2) ? [...operands, c.x(2)] : operands, moves, outputs);
}

/**
 * The gradient of the kernel of a convolution, [o, i, ...k]: x convolved with dy, in which batch and channels have changed
 * places. Null where the form does not have it.
 */
export function blockedKernelGradient(
  g: Algebra,
  x: Value,
  dy: Value,
  w: Moves & { readonly kernel: readonly number[] },
  block: number,
): Value | null {
  const [batch = 0, channels = 1, ...inputs] = x.shape;
  const [, out = 0, ...outputs] = dy.shape;
  if (x.dtype !== "f32" || w.kernel.length !== 2 || sizeOf(w.kernel) === 1 || !whole(block, batch, out)) return null;
  const padded = g.pad(x, [0, 0, ...w.before], [0, 0, ...w.after.map((n) => Math.max(n, 0))]);
  const zeros = [0, 0];
  const moves = { strides: w.dilations, dilations: w.strides, before: zeros, after: zeros };
  // A window that does not reach the end leaves room for kernel positions that are not there.
  const sizes = inputs.map((n, i) => {
    const room =
      n + (w.before[i] ?? 0) + Math.max(w.after[i] ?? 0, 0) - ((outputs[i] ?? 1) - 1) * (w.strides[i] ?? 1) - 1;
    return Math.floor(room / (w.dilations[i] ?? 1)) + 1;
  });
  const found = convolution(
    g,
    [blocked(g, g.transpose(padded, [1, 0, 2, 3])), blockedKernelOf(g, dy, block)],
    moves,
    sizes,
  );
  const kept = g.cut(
    found,
    w.kernel.map((n, i) => ({ axis: i + 2, start: 0, end: n, step: 1 })),
  );
  return g.reshape(g.transpose(kept, [1, 0, 2, 3]), [out, channels, ...w.kernel]);
}
