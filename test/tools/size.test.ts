import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { countsLine } from "./plain-reporter.ts";
import { overBudget } from "./size.ts";

test("sizes over their budget are named, and those within are not", () => {
  const budgets = JSON.parse(readFileSync("budgets.json", "utf8"));
  expect(overBudget(budgets, budgets)).toEqual([]);
  const one = { ...budgets, packedBytes: budgets.packedBytes + 1 };
  expect(overBudget(one, budgets)).toEqual([expect.stringContaining("packedBytes: expected at most")]);
});

test("the line of counts reads as logs are searched", () => {
  expect(countsLine({ passed: 3, failed: 0, skipped: 2 })).toBe("Tests: 3 passed, 0 failed, 2 skipped");
});
