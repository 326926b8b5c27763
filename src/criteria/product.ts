import { type Criterion, type Factors, reduceElements, type Statistic } from "./criterion.ts";

/** a · b. Units sum the products of their weights where both score weights, else multiply what both say of the unit. */
export function product<A extends Statistic, B extends Statistic>(
  a: Criterion<A>,
  b: Criterion<B>,
  id = `${a.id}*${b.id}`,
): Criterion<A | B> {
  const first = a.elements;
  const second = b.elements;
  const elements: Criterion<A | B>["elements"] =
    first === null || second === null
      ? null
      : (weight, statistics) => multiply(first(weight, statistics), second(weight, statistics));
  return {
    id,
    needs: [...new Set<A | B>([...a.needs, ...b.needs])],
    whole: a.whole === true || b.whole === true,
    elements,
    factors: factorsOf(a, b),
    features: (weight, side, statistics) => {
      if (elements !== null) {
        return side === "other" ? null : reduceElements(weight, side, elements(weight, statistics), "sum");
      }
      const left = a.features(weight, side, statistics);
      const right = b.features(weight, side, statistics);
      return left === null || right === null ? null : multiply(left, right);
    },
  };
}

/** |w|ᵖ·s · |w|ᑫ·t = |w|ᵖ⁺ᑫ · s·t. */
function factorsOf<A extends Statistic, B extends Statistic>(
  { factors: a }: Criterion<A>,
  { factors: b }: Criterion<B>,
): Factors<A | B> | undefined {
  if (a === undefined || b === undefined) return undefined;
  return {
    power: a.power + b.power,
    columns: (weight, statistics) => {
      const [left, right] = [a.columns(weight, statistics), b.columns(weight, statistics)];
      return left === null || right === null ? null : multiply(left, right);
    },
  };
}

function multiply(a: Float64Array, b: Float64Array): Float64Array {
  for (let i = 0; i < a.length; i++) a[i] = (a[i] ?? 0) * (b[i] ?? 0);
  return a;
}
