import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { string } from "../../graph/attributes.ts";
import { fromFloats } from "../../tensor/numeric.ts";
import type { GradContext, GradRule } from "../spec.ts";

/** The letters of each operand and of the result; a letter that stands twice in one operand takes its diagonal. */
interface Terms {
  readonly terms: readonly string[];
  readonly result: string;
}

const alphabet = [..."abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"];

/** One value with the letters of its axes. */
interface Lettered {
  readonly value: Value;
  readonly letters: string;
}

/** Leaves out axes of size 1 that stand against longer ones: they broadcast. */
function squeezed(g: Algebra, { value, letters }: Lettered, sizes: ReadonlyMap<string, number>): Lettered {
  const kept = [...letters].flatMap((letter, i) => (value.shape[i] === 1 && sizes.get(letter) !== 1 ? [] : [i]));
  if (kept.length === letters.length) return { value, letters };
  return {
    value: g.reshape(
      value,
      kept.map((i) => value.shape[i] ?? 1),
    ),
    letters: kept.map((i) => letters[i] ?? "").join(""),
  };
}

/** 1 where two axes of a value have the same position, else 0. */
function diagonal(g: Algebra, like: Value, first: number, second: number): Value {
  const n = like.shape[first] ?? 1;
  const values = new Float64Array(n * n);
  for (let i = 0; i < n; i++) values[i * n + i] = 1;
  const shape = like.shape.map((_, i) => (i === first || i === second ? n : 1));
  return g.cast(g.constant(fromFloats("f32", shape, values), "diagonal"), like.dtype);
}

/**
 * y = Σ Π xᵢ: dxᵢ is the product of dy with the other operands, summed over what xᵢ has not. Axes that only xᵢ has are
 * repeated; a diagonal that was taken is put back into zeros.
 */
export const einsumGradient =
  (termsOf: (c: GradContext) => Terms): GradRule =>
  (c, dy) => {
    const { g } = c;
    const { terms, result } = termsOf(c);
    const sizes = new Map<string, number>();
    for (const [i, term] of terms.entries()) {
      for (const [axis, letter] of [...term].entries()) {
        sizes.set(letter, Math.max(sizes.get(letter) ?? 1, c.x(i).shape[axis] ?? 1));
      }
    }
    const names = new Map([...sizes.keys()].map((letter, i) => [letter, alphabet[i] ?? letter]));
    const spelled = (letters: string): string => [...letters].map((letter) => names.get(letter) ?? letter).join("");
    return terms.map((term, index) => {
      if (!c.wanted(index)) return null;
      const { shape } = c.x(index);
      const own = squeezed(g, { value: c.x(index), letters: term }, sizes).letters;
      const factors = [
        { value: dy, letters: result },
        ...terms.flatMap((letters, i) => (i === index ? [] : [squeezed(g, { value: c.x(i), letters }, sizes)])),
      ];
      const there = new Set(factors.flatMap(({ letters }) => [...letters]));
      const found = [...new Set(own)].filter((letter) => there.has(letter));
      const equation = `${factors.map(({ letters }) => spelled(letters)).join(",")}->${spelled(found.join(""))}`;
      const values = factors.map(({ value }) => value);
      const type = { dtype: dy.dtype, shape: found.map((letter) => sizes.get(letter) ?? 1) };
      const product = g.op("Einsum", values, { equation: string(equation) }, type);
      const firsts = [...term].map((letter, axis) => term.indexOf(letter) === axis);
      const spread = g.reshape(
        product,
        [...term].map((letter, axis) => (firsts[axis] === true && found.includes(letter) ? (shape[axis] ?? 1) : 1)),
      );
      const repeats = [...term].flatMap((letter, axis) =>
        firsts[axis] === true ? [] : [[term.indexOf(letter), axis] as const],
      );
      return repeats.reduce((value, [first, second]) => g.mul(value, diagonal(g, c.x(index), first, second)), spread);
    });
  };
