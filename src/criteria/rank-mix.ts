import { type Criterion, reduceElements, type Statistic } from "./criterion.ts";

/**
 * Ranks of two criteria inside a parameter, mixed: (1 − share) · rank by a + share · rank by b. What a criterion that looks at
 * both has to beat.
 */
export function rankMix<A extends Statistic, B extends Statistic>(
  a: Criterion<A>,
  b: Criterion<B>,
  share: number,
): Criterion<A | B> {
  const [first, second] = [a.elements, b.elements];
  const elements: Criterion<A | B>["elements"] =
    first === null || second === null
      ? null
      : (weight, statistics) => {
          const out = ranks(first(weight, statistics));
          const other = ranks(second(weight, statistics));
          for (let i = 0; i < out.length; i++) out[i] = (1 - share) * (out[i] ?? 0) + share * (other[i] ?? 0);
          return out;
        };
  const path = a.path ?? b.path;
  return {
    id: `${a.id}/${b.id}`,
    needs: [...new Set<A | B>([...a.needs, ...b.needs])],
    ...(path === undefined ? {} : { path }),
    whole: true,
    elements,
    features: (weight, side, statistics) =>
      elements === null || side === "other" ? null : reduceElements(weight, side, elements(weight, statistics), "sum"),
  };
}

/** The place of each score among all, from 0; of equal ones the first comes first. */
function ranks(scores: Float64Array): Float64Array {
  const order = Int32Array.from(scores.keys()).sort((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0) || a - b);
  const out = new Float64Array(scores.length);
  for (const [rank, i] of order.entries()) out[i] = rank;
  return out;
}
