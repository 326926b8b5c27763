import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { intsAttr, stringAttr } from "../../graph/attributes.ts";
import type { Node } from "../../graph/graph.ts";
import type { Shape } from "../../tensor/tensor.ts";

/** How a window slides over the spatial axes of its input; one entry for each of these axes. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** Padding in front of, and behind, the input. The last may be negative: the window then never sees the end. */
  readonly before: readonly number[];
  readonly after: readonly number[];
  /** Sizes of the input and of the output. */
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

/** Elements between the first and the last position that a window sees, both counted. */
const reach = (kernel: number, dilation: number): number => dilation * (kernel - 1) + 1;

/** The window of a node from x: [n, c, ...inputs] to y: [n, c', ...outputs], with the paddings that its output needs. */
export function windowOf(node: Node, kernel: readonly number[], x: Shape, y: Shape): Window {
  const [inputs, outputs] = [x.slice(2), y.slice(2)];
  const each = (name: string, absent: number): readonly number[] =>
    intsAttr(node, name, undefined) ?? kernel.map(() => absent);
  const [strides, dilations] = [each("strides", 1), each("dilations", 1)];
  const auto = stringAttr(node, "auto_pad", "NOTSET");
  const covered = outputs.map((n, i) => (n - 1) * (strides[i] ?? 1) + reach(kernel[i] ?? 1, dilations[i] ?? 1));
  const needed = covered.map((n, i) => n - (inputs[i] ?? 0));
  const before = needed.map((n, i) => {
    if (auto === "SAME_UPPER") return Math.floor(Math.max(n, 0) / 2);
    if (auto === "SAME_LOWER") return Math.ceil(Math.max(n, 0) / 2);
    return auto === "VALID" ? 0 : (intsAttr(node, "pads", undefined)?.[i] ?? 0);
  });
  return { kernel, strides, dilations, before, after: needed.map((n, i) => n - (before[i] ?? 0)), inputs, outputs };
}

/**
 * Kernel positions that a convolution of the input with the output's gradient finds: a window that does not reach the end
 * leaves room for some that are not there.
 */
export const kernelRoom = ({
  kernel,
  after,
  dilations,
}: Pick<Window, "kernel" | "after" | "dilations">): readonly number[] =>
  kernel.map((n, i) => n + Math.floor(Math.max(-(after[i] ?? 0), 0) / (dilations[i] ?? 1)));

/** Offsets of the window's positions, row by row: one entry for each axis. */
function offsetsOf({ kernel, dilations }: Window): readonly (readonly number[])[] {
  let offsets: readonly (readonly number[])[] = [[]];
  for (const [i, size] of kernel.entries()) {
    const steps = Array.from({ length: size }, (_, j) => j * (dilations[i] ?? 1));
    offsets = offsets.flatMap((offset) => steps.map((step) => [...offset, step]));
  }
  return offsets;
}

/**
 * What each position of the window sees, as one value of [n, c, ...outputs] for each: strided slices of the padded input.
 * `fill` stands where the window sees padding.
 */
export function seen(g: Algebra, x: Value, window: Window, fill = 0): readonly Value[] {
  const { before, after, strides, outputs } = window;
  const rest = after.map((n) => Math.max(n, 0));
  const padded = g.pad(x, [0, 0, ...before], [0, 0, ...rest], fill);
  return offsetsOf(window).map((offset) =>
    g.cut(
      padded,
      offset.map((start, i) => {
        const step = strides[i] ?? 1;
        return { axis: i + 2, start, end: start + ((outputs[i] ?? 1) - 1) * step + 1, step };
      }),
    ),
  );
}
