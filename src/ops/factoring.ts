import { int, intAttr, ints, intsAttr, withAttributes } from "../graph/attributes.ts";
import type { Draft } from "../graph/draft.ts";
import type { Node } from "../graph/graph.ts";
import type { Shape } from "../tensor/tensor.ts";
import { linearForm } from "./linear.ts";

/**
 * How a kernel is laid out as a matrix: "channel", outputs by all the rest; "spatial", (outputs, width) by (inputs, height);
 * "decoupled", for each output a matrix of positions by inputs. The matrix of a linear layer is outputs by inputs.
 */
export type Factors = "channel" | "spatial" | "decoupled";

/** The words for them. */
export const factorNames: readonly Factors[] = ["channel", "spatial", "decoupled"];

/** How the numbers of a kernel lie: as [blocks.., rank, columns..] or [blocks.., rows.., rank], turned by `order`, in this shape. */
export interface KernelLayout {
  readonly order: readonly number[];
  readonly shape: Shape;
}

/**
 * A node in two steps: its kernel is a matrix [rows, columns] for each position of the block axes, and where that is a product
 * of rank r, a first node computes r numbers from the data and a second what the one node did, bias included.
 */
export interface Factoring {
  /** Axes of the kernel. */
  readonly blocks: readonly number[];
  readonly rows: readonly number[];
  readonly columns: readonly number[];
  /** Layouts of both kernels at a rank. */
  layouts(rank: number): { readonly first: KernelLayout; readonly second: KernelLayout };
  /** Puts two nodes in the place of the one; what it gives keeps its name. */
  write(draft: Draft, node: Node, first: string, second: string): void;
}

/** How a node whose trained matrix is input `kernel` is taken apart; null where it cannot be. */
export function factoringOf(node: Node, kernel: number, shape: Shape, factors: Factors): Factoring | null {
  if (kernel !== 1 || linearForm(node, kernel) === null) return null;
  if (node.op !== "Conv") return shape.length === 2 ? product(node, shape) : null;
  if (intAttr(node, "group", 1) !== 1) return null;
  if (factors === "channel") return byChannel(shape);
  if (factors === "decoupled") return decoupled(shape);
  return shape.length === 4 ? spatial(node, shape) : null;
}

/** x · W = (x · V) · U, as two products; where x is turned around on its way in, the first stays what the node was. */
function product(node: Node, shape: Shape): Factoring {
  const outputsFirst = intAttr(node, "transB", 0) === 1;
  const turned = intAttr(node, "transA", 0) === 1;
  const [outputs = 1, inputs = 1] = outputsFirst ? shape : shape.toReversed();
  const straight = [0, 1];
  const back = [1, 0];
  return {
    blocks: [],
    rows: [outputsFirst ? 0 : 1],
    columns: [outputsFirst ? 1 : 0],
    layouts: (rank) => ({
      first:
        turned && outputsFirst ? { order: straight, shape: [rank, inputs] } : { order: back, shape: [inputs, rank] },
      second: outputsFirst ? { order: straight, shape: [outputs, rank] } : { order: back, shape: [rank, outputs] },
    }),
    write: (draft, at, first, second) => {
      const plain = { ...at, op: "MatMul", attributes: new Map() };
      insert(draft, turned ? at : plain, [first, second], { at, inFirst: {}, inSecond: { transA: null } });
    },
  };
}

/** W[o, i, p] = Σ U[o, r] · V[r, i, p]: the same window with fewer outputs, then a point. */
function byChannel(shape: Shape): Factoring {
  const [outputs = 1, ...window] = shape;
  const point = window.slice(1).map(() => 1);
  return {
    blocks: [],
    rows: [0],
    columns: window.map((_, i) => i + 1),
    layouts: (rank) => ({
      first: { order: shape.map((_, i) => i), shape: [rank, ...window] },
      second: { order: [0, 1], shape: [outputs, rank, ...point] },
    }),
    write: (draft, node, first, second) =>
      insert(draft, node, [first, second], {
        inFirst: { kernel_shape: ints(window.slice(1)) },
        inSecond: still(point),
      }),
  };
}

/** W[o, i, y, x] = Σ U[(o, x), r] · V[r, (i, y)]: a window of one column, then one of one row. */
function spatial(node: Node, [outputs = 1, inputs = 1, height = 1, width = 1]: Shape): Factoring {
  const list = (name: string, absent: readonly number[]) => intsAttr(node, name, absent);
  const [down = 1, right = 1] = list("strides", [1, 1]);
  const [sparseDown = 1, sparseRight = 1] = list("dilations", [1, 1]);
  const [top = 0, left = 0, bottom = 0, rest = 0] = list("pads", [0, 0, 0, 0]);
  const padded = node.attributes.has("pads");
  return {
    blocks: [],
    rows: [0, 3],
    columns: [1, 2],
    layouts: (rank) => ({
      first: { order: [0, 1, 2], shape: [rank, inputs, height, 1] },
      second: { order: [0, 2, 1], shape: [outputs, rank, 1, width] },
    }),
    write: (draft, at, first, second) =>
      insert(draft, at, [first, second], {
        inFirst: {
          kernel_shape: ints([height, 1]),
          strides: ints([down, 1]),
          dilations: ints([sparseDown, 1]),
          pads: padded ? ints([top, 0, bottom, 0]) : null,
        },
        inSecond: {
          kernel_shape: ints([1, width]),
          strides: ints([1, right]),
          dilations: ints([1, sparseRight]),
          pads: padded ? ints([0, left, 0, rest]) : null,
        },
      }),
  };
}

/** W[o, i, p] = Σ U[o, p, r] · V[o, r, i]: points to r channels for each output, which then look at windows of their own. */
function decoupled(shape: Shape): Factoring {
  const [outputs = 1, inputs = 1, ...window] = shape;
  const point = window.map(() => 1);
  const positions = window.map((_, i) => i + 2);
  return {
    blocks: [0],
    rows: positions,
    columns: [1],
    layouts: (rank) => ({
      first: { order: [0, 1, 2], shape: [outputs * rank, inputs, ...point] },
      second: {
        order: [0, positions.length + 1, ...positions.map((axis) => axis - 1)],
        shape: [outputs, rank, ...window],
      },
    }),
    write: (draft, node, first, second) =>
      insert(draft, node, [first, second], {
        inFirst: still(point),
        inSecond: { kernel_shape: ints(window), group: int(outputs) },
      }),
  };
}

type Changes = Parameters<typeof withAttributes>[1];

/** Attributes of a window that looks at one position and moves by one. */
function still(point: Shape): Changes {
  return { kernel_shape: ints(point), strides: null, dilations: null, pads: null, auto_pad: null, group: null };
}

/** What both nodes take over from the one, and what is different; `at` is the node that is replaced where it is not `like`. */
interface Halves {
  readonly at?: Node;
  readonly inFirst: Changes;
  readonly inSecond: Changes;
}

/** A node like the given one, without its bias and with the first kernel, in front of the one with the second. */
function insert(
  draft: Draft,
  like: Node,
  [first, second]: readonly [string, string],
  { at = like, inFirst, inSecond }: Halves,
): void {
  const [data = "", , ...rest] = at.inputs;
  const inner = draft.fresh(`${at.outputs[0] ?? ""}_inner`);
  const name = at.name === "" ? "" : `${at.name}_inner`;
  draft.add({ ...withAttributes(like, inFirst), name, inputs: [data, first], outputs: [inner] }, { before: at });
  draft.replace(at, { ...withAttributes(at, inSecond), inputs: [inner, second, ...rest] });
}
