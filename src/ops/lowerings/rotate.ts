import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { intAttr } from "../../graph/attributes.ts";
import type { FormulaContext } from "../spec.ts";

/** Angles of a rotary embedding, as their cosines and sines: [positions, r/2], or [batch, time, r/2] looked up already. */
interface Turning {
  readonly cos: Value;
  readonly sin: Value;
  /** [batch, time]; null where the tables are in order. */
  readonly positions: Value | null;
  /** Pairs stand side by side instead of half a head apart. */
  readonly interleaved: boolean;
}

/** Turns the first r positions of every head by its angles, two by two. x: [batch, heads, time, d]. */
export function turned(g: Algebra, x: Value, { cos, sin, positions, interleaved }: Turning): Value {
  const [batch = 1, heads = 1, time = 1, width = 1] = x.shape;
  const half = cos.shape.at(-1) ?? 0;
  const angles = (table: Value): Value => {
    if (table.shape.length === 3) return g.reshape(table, [table.shape[0] ?? 1, 1, time, half]);
    if (positions === null) return g.reshape(g.slice(table, 0, 0, time), [1, 1, time, half]);
    return g.reshape(g.gather(table, positions, 0), [positions.shape[0] ?? 1, 1, time, half]);
  };
  const [c, s] = [angles(cos), angles(sin)];
  const turning = g.slice(x, 3, 0, 2 * half);
  const pairs = g.reshape(turning, [batch, heads, time, ...(interleaved ? [half, 2] : [2, half])]);
  const axis = interleaved ? 4 : 3;
  const side = (i: number): Value => g.reshape(g.slice(pairs, axis, i, i + 1), [batch, heads, time, half]);
  const [a, b] = [side(0), side(1)];
  const results = [g.sub(g.mul(a, c), g.mul(b, s)), g.add(g.mul(a, s), g.mul(b, c))];
  const column = interleaved ? [batch, heads, time, half, 1] : [batch, heads, time, 1, half];
  const back = g.concat(
    results.map((result) => g.reshape(result, column)),
    axis,
  );
  const done = g.reshape(back, [batch, heads, time, 2 * half]);
  return 2 * half === width ? done : g.concat([done, g.slice(x, 3, 2 * half, width)], 3);
}

/** The embedding of x: [batch, heads, time, d] or [batch, time, heads·d], in the form that it came in. */
function embedded(c: FormulaContext, heads: number, turning: Turning): Value {
  const { g } = c;
  const x = c.x(0);
  if (x.shape.length === 4) return turned(g, x, turning);
  const [batch = 1, time = 1, width = 1] = x.shape;
  const apart = g.transpose(g.reshape(x, [batch, time, heads, width / heads]), [0, 2, 1, 3]);
  return g.reshape(g.transpose(turned(g, apart, turning), [0, 2, 1, 3]), x.shape);
}

/** ai.onnx RotaryEmbedding. */
export function lowerRotaryEmbedding(c: FormulaContext): readonly Value[] {
  const interleaved = intAttr(c.node, "interleaved", 0) === 1;
  const turning = { cos: c.x(1), sin: c.x(2), positions: c.has(3) ? c.x(3) : null, interleaved };
  return [embedded(c, intAttr(c.node, "num_heads", 1), turning)];
}

/** com.microsoft RotaryEmbedding: positions are given one by one, or as the first of them. */
export function lowerContribRotaryEmbedding(c: FormulaContext): readonly Value[] {
  const { g } = c;
  const x = c.x(0);
  const [cos, sin] = [c.x(2), c.x(3)];
  const named = intAttr(c.node, "num_heads", 0);
  const heads = named > 0 ? named : (x.shape[2] ?? 0) / (2 * (cos.shape[1] ?? 1));
  const time = x.shape[x.shape.length === 4 ? 2 : 1] ?? 1;
  const steps = g.int64(
    Array.from({ length: time }, (_, i) => i),
    [1, time],
  );
  const positions = c.x(1).shape.length === 2 ? c.x(1) : g.add(g.reshape(c.x(1), [1, 1]), steps);
  const interleaved = intAttr(c.node, "interleaved", 0) === 1;
  return [embedded(c, heads, { cos, sin, positions, interleaved })];
}
