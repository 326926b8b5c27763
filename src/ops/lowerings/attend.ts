import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { floatAttr, int, intAttr, intsAttr } from "../../graph/attributes.ts";
import { fromFloats } from "../../tensor/numeric.ts";
import type { FormulaContext } from "../spec.ts";
import { turned } from "./rotate.ts";

/** Scaled dot-product attention. q: [batch, heads, rows, d], k: [batch, kv heads, columns, d], v: [.., columns, e]. */
interface Attending {
  readonly q: Value;
  readonly k: Value;
  readonly v: Value;
  /** Factor of the scores; 1/√d where it is not said. */
  readonly scale: number | undefined;
  /** Added to the scores; each broadcasts to [batch, heads, rows, columns]. */
  readonly biases: readonly Value[];
  /** Scores are bent to s·tanh(x/s) first where s is not 0. */
  readonly softcap: number;
}

/** The result [batch, heads, rows, e], and what it came from. */
interface Attended {
  readonly y: Value;
  /** The scores at four points: scaled, bent, with biases, as shares. */
  readonly scores: readonly [scaled: Value, bent: Value, biased: Value, shares: Value];
}

/**
 * softmax(scale · q·kᵀ + biases) · v. Query heads that share a key head are rows of one product, so that keys and values
 * are not copied.
 */
function attend(g: Algebra, { q, k, v, scale, biases, softcap }: Attending): Attended {
  const [batch = 1, heads = 1, rows = 1, width = 1] = q.shape;
  const [, keyHeads = 1, columns = 1] = k.shape;
  const depth = v.shape[3] ?? 1;
  const grouped = (x: Value, last: number): Value => g.reshape(x, [batch, keyHeads, (heads / keyHeads) * rows, last]);
  const spread = (x: Value, last: number): Value => g.reshape(x, [batch, heads, rows, last]);
  const scaled = g.mul(q, scale ?? 1 / Math.sqrt(width));
  const scores = spread(g.matMul(grouped(scaled, width), g.swapLast(k)), columns);
  const bent = softcap === 0 ? scores : g.mul(g.tanh(g.div(scores, softcap)), softcap);
  const biased = biases.reduce((sum, bias) => g.add(sum, bias), bent);
  const shares = g.map("Softmax", biased, { axis: int(-1) });
  const y = spread(g.matMul(grouped(shares, columns), v), depth);
  return { y, scores: [scores, bent, biased, shares] };
}

/** [batch, time, heads·d] → [batch, heads, time, d]. */
function toHeads(g: Algebra, x: Value, heads: number): Value {
  if (x.shape.length === 4) return x;
  const [batch = 1, time = 1, width = 1] = x.shape;
  return g.transpose(g.reshape(x, [batch, time, heads, width / heads]), [0, 2, 1, 3]);
}

/** [batch, heads, time, d] → [batch, time, heads·d]. */
function fromHeads(g: Algebra, x: Value): Value {
  const [batch = 1, heads = 1, time = 1, width = 1] = x.shape;
  return g.reshape(g.transpose(x, [0, 2, 1, 3]), [batch, time, heads * width]);
}

/** 0 where a row may see a column, −∞ elsewhere: rows start `past` columns late, and see `window` columns back at most. */
function causal(g: Algebra, rows: number, columns: number, past: number, like: Value, window = columns): Value {
  const values = new Float64Array(rows * columns);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const behind = i + past - j;
      if (behind < 0 || behind >= window) values[i * columns + j] = Number.NEGATIVE_INFINITY;
    }
  }
  const dtype = like.dtype === "f64" || like.dtype === "f16" ? like.dtype : "f32";
  return g.constant(fromFloats(dtype, [rows, columns], values), "causal");
}

/** `blocked` where a mask says 0 or false, 0 elsewhere. */
function hiding(g: Algebra, mask: Value, blocked: number, like: Value): Value {
  const sees = mask.dtype === "bool" ? mask : g.cast(mask, "bool");
  return g.where(sees, g.scalar(0, like.dtype), g.scalar(blocked, like.dtype));
}

const scaleOf = (c: FormulaContext): number | undefined => {
  const given = floatAttr(c.node, "scale", 0);
  return given === 0 ? undefined : given;
};

/** ai.onnx Attention: a mask of booleans or numbers, shared key heads, past keys and values. */
export function lowerAttention(c: FormulaContext): readonly (Value | null)[] {
  const { g } = c;
  if (c.has(6)) c.refuse("its keys have lengths of their own");
  const folded = c.x(0).shape.length === 3;
  const heads = intAttr(c.node, "q_num_heads", 1);
  const keyHeads = intAttr(c.node, "kv_num_heads", 1);
  const q = toHeads(g, c.x(0), heads);
  const joined = (index: number, past: number): Value => {
    const now = toHeads(g, c.x(index), keyHeads);
    return c.has(past) ? g.concat([c.x(past), now], 2) : now;
  };
  const [k, v] = [joined(1, 4), joined(2, 5)];
  const [rows = 1, columns = 1] = [q.shape[2], k.shape[2]];
  const biases: Value[] = [];
  if (c.has(3)) biases.push(c.x(3).dtype === "bool" ? hiding(g, c.x(3), Number.NEGATIVE_INFINITY, q) : c.x(3));
  const past = c.has(4) ? (c.x(4).shape[2] ?? 0) : 0;
  if (intAttr(c.node, "is_causal", 0) === 1) biases.push(causal(g, rows, columns, past, q));
  const softcap = floatAttr(c.node, "softcap", 0);
  const { y, scores } = attend(g, { q, k, v, scale: scaleOf(c), biases, softcap });
  const shown = scores[intAttr(c.node, "qk_matmul_output_mode", 0)] ?? null;
  return [folded ? fromHeads(g, y) : y, k, v, shown];
}

/** Refuses the past of a com.microsoft attention unless it is empty. */
function refusePast(c: FormulaContext, ...indices: readonly number[]): void {
  for (const index of indices) {
    if (c.has(index) && !c.x(index).shape.includes(0)) c.refuse("it has a past, which training does not");
  }
}

/** Masks of com.microsoft: [batch] counts of keys, [batch, columns] or [batch, rows, columns] of ones and zeros. */
function keyMask(c: FormulaContext, index: number, columns: number, like: Value): readonly Value[] {
  if (!c.has(index)) return [];
  const { g } = c;
  const mask = c.x(index);
  const blocked = floatAttr(c.node, "mask_filter_value", -10_000);
  const [batch = 1] = mask.shape;
  if (mask.shape.length === 1 && batch === like.shape[0]) {
    const positions = g.int64(Array.from({ length: columns }, (_, i) => i));
    const counts = g.reshape(g.cast(mask, "i64"), [batch, 1, 1, 1]);
    return [hiding(g, g.less(positions, counts), blocked, like)];
  }
  if (mask.shape.at(-1) !== columns || mask.shape.length > 3) c.refuse("its mask has a packed form");
  const shape = mask.shape.length === 2 ? [batch, 1, 1, columns] : [batch, 1, mask.shape[1] ?? 1, columns];
  return [hiding(g, g.reshape(mask, shape), blocked, like)];
}

/** com.microsoft Attention: x · W + b is q, k and v one after the other. */
export function lowerFusedAttention(c: FormulaContext): readonly (Value | null)[] {
  const { g } = c;
  refusePast(c, 4);
  if (intAttr(c.node, "do_rotary", 0) !== 0) c.refuse("it turns its queries and keys itself");
  const heads = intAttr(c.node, "num_heads", 1);
  const total = c.x(1).shape[1] ?? 0;
  const widths = intsAttr(c.node, "qkv_hidden_sizes", undefined) ?? [total / 3, total / 3, total / 3];
  const projected = g.matMul(c.x(0), c.x(1));
  const all = c.has(2) ? g.add(projected, c.x(2)) : projected;
  const [q = all, k = all, v = all] = parts(g, all, 2, widths).map((x) => toHeads(g, x, heads));
  const rows = q.shape[2] ?? 1;
  const biases = [...keyMask(c, 3, rows, q), ...(c.has(5) ? [c.x(5)] : [])];
  if (intAttr(c.node, "unidirectional", 0) === 1) biases.push(causal(g, rows, rows, 0, q));
  const { y } = attend(g, { q, k, v, scale: scaleOf(c), biases, softcap: 0 });
  return [fromHeads(g, y), null];
}

/** com.microsoft MultiHeadAttention: projected q, k and v, whose biases it may add. */
export function lowerMultiHeadAttention(c: FormulaContext): readonly (Value | null)[] {
  const { g } = c;
  refusePast(c, 6, 7);
  if (!c.has(1) || !c.has(2) || c.x(0).shape.length !== 3) c.refuse("its queries, keys and values are packed");
  const heads = intAttr(c.node, "num_heads", 1);
  const operands = [c.x(0), c.x(1), c.x(2)];
  const offsets = c.has(3)
    ? parts(
        g,
        c.x(3),
        0,
        operands.map((x) => x.shape[2] ?? 0),
      )
    : [];
  const [q = c.x(0), k = c.x(1), v = c.x(2)] = operands.map((x, i) => {
    const offset = offsets[i];
    return toHeads(g, offset === undefined ? x : g.add(x, offset), heads);
  });
  const [rows = 1, columns = 1] = [q.shape[2], k.shape[2]];
  const biases = [...keyMask(c, 4, columns, q), ...(c.has(5) ? [c.x(5)] : [])];
  if (intAttr(c.node, "unidirectional", 0) === 1) biases.push(causal(g, rows, columns, columns - rows, q));
  const { y } = attend(g, { q, k, v, scale: scaleOf(c), biases, softcap: 0 });
  return [fromHeads(g, y), k, v];
}

/**
 * com.microsoft GroupQueryAttention without a past, where every row sees the rows up to its own. What it says of the
 * lengths of sequences only concerns rows of padding, which come last and which no other row sees.
 */
export function lowerGroupQueryAttention(c: FormulaContext): readonly (Value | null)[] {
  const { g } = c;
  refusePast(c, 3, 4);
  if (c.has(11) || intAttr(c.node, "smooth_softmax", 0) === 1) c.refuse("its shares do not add up to one");
  const heads = intAttr(c.node, "num_heads", 1);
  const keyHeads = intAttr(c.node, "kv_num_heads", 1);
  const width = (c.x(0).shape[2] ?? 0) / (c.has(1) ? heads : heads + 2 * keyHeads);
  const widths = [heads * width, keyHeads * width, keyHeads * width];
  const operands = c.has(1) ? [c.x(0), c.x(1), c.x(2)] : parts(g, c.x(0), 2, widths);
  const [q0 = c.x(0), k0 = q0, v = q0] = operands.map((x, i) => toHeads(g, x, i === 0 ? heads : keyHeads));
  const turn = (x: Value): Value => {
    if (intAttr(c.node, "do_rotary", 0) === 0) return x;
    const positions = c.has(9) ? c.x(9) : null;
    return turned(g, x, {
      cos: c.x(7),
      sin: c.x(8),
      positions,
      interleaved: intAttr(c.node, "rotary_interleaved", 0) === 1,
    });
  };
  const [q, k] = [turn(q0), turn(k0)];
  const rows = q.shape[2] ?? 1;
  const window = intAttr(c.node, "local_window_size", -1);
  const biases = [causal(g, rows, rows, 0, q, window < 0 ? rows : window), ...(c.has(10) ? [c.x(10)] : [])];
  const softcap = floatAttr(c.node, "softcap", 0);
  const { y } = attend(g, { q, k, v, scale: scaleOf(c), biases, softcap });
  return [fromHeads(g, y), k, v];
}

/** An axis cut into parts of the given sizes. */
function parts(g: Algebra, x: Value, axis: number, sizes: readonly number[]): readonly Value[] {
  const types = sizes.map((size) => ({ dtype: x.dtype, shape: x.shape.map((n, i) => (i === axis ? size : n)) }));
  return g.ops("Split", [x, g.int64(sizes)], { axis: int(axis) }, types);
}
