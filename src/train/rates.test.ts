import { expect, it } from "vitest";
import { cosineRate, partOfRate, steppedRate, warmedUp } from "./rates.ts";

it("two parts of a schedule give the rates of the whole", () => {
  for (const whole of [warmedUp(0.1, cosineRate()), steppedRate([0.4, 0.75])]) {
    const rates = Array.from({ length: 200 }, (_, step) => whole(step, 200));
    const [first, second] = [partOfRate(whole, 0, 0.3), partOfRate(whole, 0.3, 1)];
    const parts = [
      ...Array.from({ length: 60 }, (_, step) => first(step, 60)),
      ...Array.from({ length: 140 }, (_, step) => second(step, 140)),
    ];
    for (const [step, rate] of rates.entries()) expect(parts[step]).toBeCloseTo(rate, 10);
    expect(first(30, 60)).not.toBeCloseTo(whole(30, 60), 2);
  }
});
