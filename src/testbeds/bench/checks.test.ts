import { expect, it } from "vitest";
import { check } from "./checks.ts";

const arms = [
  { arm: "a", removed: 0.5, accuracy: [50], nll: [2, 3], further: { written: [40, 60], "general loss": [5, 4] } },
  { arm: "b", removed: 0.5, accuracy: [70], nll: [1, 4], further: { written: [10, 20], chosen: [90, 95] } },
] as const;

it.each([
  ["the comparison's own", {}, "loss", 0],
  ["another for both", { in: "written" }, "loss", 35],
  ["one for each", { in: { better: "written", than: "chosen" } }, "loss", -42.5],
  ["losses, of which less is better", { better: "b", than: "a", in: "loss" }, "accuracy", 0],
  ["a single draw beside several", { in: { better: "accuracy", than: "written" } }, "loss", 35],
] as const)("arms are compared by %s", (_, told, by, difference) => {
  const expectation = { better: "a", than: "b", at: [0.5], by: 0, ...told } as const;
  expect(check(expectation, 0.5, arms, by).difference).toBeCloseTo(difference, 9);
});

it("what was not measured holds nowhere", () => {
  const expectation = { better: "b", than: "a", at: [0.5], by: -100, in: "general loss" } as const;
  expect(check(expectation, 0.5, arms, "loss").holds).toBe(false);
});
