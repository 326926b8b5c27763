import { describe, expect, it } from "vitest";
import { cubic, exponential, linear, oneShot, schedules } from "./sparsity-schedule.ts";

describe("schedules", () => {
  it.each(Object.entries(schedules))("%s starts and ends where it should, and never falls", (_, schedule) => {
    expect(schedule(-0.1, 0.9, 0.5)).toBeCloseTo(0.5, 12);
    expect(schedule(1, 0.9, 0.5)).toBeCloseTo(0.9, 12);
    expect(schedule(2, 0.9)).toBeCloseTo(0.9, 12);
    for (let t = 0; t < 1; t += 0.1) expect(schedule(t + 0.1, 0.9, 0.2)).toBeGreaterThanOrEqual(schedule(t, 0.9, 0.2));
  });

  it("have the golden numbers of gradual magnitude pruning and of lottery tickets", () => {
    const ramp = [0, 0.2, 0.4, 0.6, 0.8, 1].map((t) => cubic(t, 0.9));
    for (const [i, s] of [0, 0.4392, 0.7056, 0.8424, 0.8928, 0.9].entries()) expect(ramp[i]).toBeCloseTo(s, 10);
    const tickets = [1, 2, 3, 10].map((round) => 1 - exponential(round / 10, 1 - 0.8 ** 10));
    for (const [i, d] of [0.8, 0.64, 0.512, 0.8 ** 10].entries()) expect(tickets[i]).toBeCloseTo(d, 10);
    expect(linear(0.25, 0.8, 0.4)).toBeCloseTo(0.5, 12);
    expect(oneShot(0, 0.7)).toBe(0.7);
  });
});
