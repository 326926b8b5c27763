import { random as seeded } from "../tensor/random.ts";
import { type Criterion, reduceElements } from "./criterion.ts";

/** Uniform noise, the baseline that every criterion must beat. The same seed gives the same scores everywhere. */
export function random(seed: number): Criterion<never> {
  const elements: NonNullable<Criterion<never>["elements"]> = ({ values, parameter }) => {
    const source = seeded(seed, "criterion", parameter);
    return Float64Array.from(values, () => source.uniform());
  };
  return {
    id: "random",
    needs: [],
    elements,
    features: (weight, side) => (side === "output" ? reduceElements(weight, side, elements(weight, {}), "max") : null),
  };
}
