import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { int, intAttr, stringAttr } from "../../graph/attributes.ts";
import type { FormulaContext } from "../spec.ts";

/** Folds positions back between two bounds as often as they leave them. */
function reflected(g: Algebra, at: Value, low: number, high: number): Value {
  const span = high - low;
  if (span <= 0) return g.mul(at, 0);
  const from = g.map("Abs", g.sub(at, low));
  const turn = g.sub(from, g.mul(g.map("Floor", g.div(from, 2 * span)), 2 * span));
  return g.add(g.sub(span, g.map("Abs", g.sub(turn, span))), low);
}

/** Places on an axis of `size` positions that numbers from −1 to 1 name. */
function placesOn(c: FormulaContext, named: Value, size: number): Value {
  const { g, node } = c;
  const aligned = intAttr(node, "align_corners", 0) === 1;
  const scaled = aligned ? (size - 1) / 2 : size / 2;
  const at = g.add(g.mul(g.add(named, 1), scaled), aligned ? 0 : -0.5);
  const padding = stringAttr(node, "padding_mode", "zeros");
  if (padding === "zeros") return at;
  const folded = padding === "reflection" ? reflected(g, at, aligned ? 0 : -0.5, aligned ? size - 1 : size - 0.5) : at;
  return g.min(g.max(folded, 0), size - 1);
}

/** A position beside a place, as whole numbers, with its weight; outside it has none. */
interface Neighbour {
  readonly index: Value;
  readonly weight: Value;
}

function neighbours(g: Algebra, at: Value, size: number, linear: boolean): readonly Neighbour[] {
  const inside = (whole: Value): Value =>
    g.cast(g.less(g.map("Abs", g.sub(whole, (size - 1) / 2)), size / 2), at.dtype);
  const one = (whole: Value, weight: Value | null): Neighbour => ({
    index: g.cast(g.min(g.max(whole, 0), size - 1), "i64"),
    weight: weight === null ? inside(whole) : g.mul(weight, inside(whole)),
  });
  if (!linear) return [one(g.map("Round", at), null)];
  const first = g.map("Floor", at);
  const rest = g.sub(at, first);
  return [one(first, g.sub(1, rest)), one(g.add(first, 1), rest)];
}

/**
 * Images sampled at named places: x [n, c, h, w], grid [n, ho, wo, 2] → [n, c, ho, wo]. Each sample is a weighted sum of
 * the four positions around its place, or the nearest one. Null for cubic interpolation and for volumes.
 */
export function lowerGridSample(c: FormulaContext): readonly Value[] | null {
  const { g } = c;
  const [x, grid] = [c.x(0), c.x(1)];
  const mode = stringAttr(c.node, "mode", "linear");
  const linear = mode === "linear" || mode === "bilinear";
  if (x.shape.length !== 4 || (!linear && mode !== "nearest")) return null;
  const [batch = 1, channels = 1, height = 1, width = 1] = x.shape;
  const [, rows = 1, columns = 1] = grid.shape;
  const count = rows * columns;
  const named = g.reshape(grid, [batch, 1, count, 2]);
  const along = (coordinate: 0 | 1, size: number): readonly Neighbour[] => {
    const part = g.reshape(g.slice(named, 3, coordinate, coordinate + 1), [batch, 1, count]);
    return neighbours(g, placesOn(c, part, size), size, linear);
  };
  const pixels = g.reshape(x, [batch, channels, height * width]);
  const [across, down] = [along(0, width), along(1, height)];
  const samples = down.flatMap((row) =>
    across.map((column) => {
      const place = g.expand(g.add(g.mul(row.index, width), column.index), [batch, channels, count]);
      const found = g.op("GatherElements", [pixels, place], { axis: int(2) }, { dtype: x.dtype, shape: place.shape });
      return g.mul(found, g.mul(row.weight, column.weight));
    }),
  );
  return [g.reshape(g.total(samples), [batch, channels, rows, columns])];
}
