import { expect, it } from "vitest";
import { type Cell, languagePage, orderAt, type Run } from "../../bench/language-page.ts";

const cell = (method: string, draw: number, nll: number, recovery = "none"): Cell => ({
  ...{ part: "weights", method, column: "50 %", recovery, draw, nll },
  ...{ really: 0.5, accuracy: 40, seconds: 60 },
});

const run = (cells: Cell[]): Run => ({
  ...{ id: "tiny", description: "A tiny model", cells, dense: { nll: 1, accuracy: 60, tokens: 100 } },
  told: { calibration: 4, window: 8, updates: 2, batch: 1, samples: 3 },
});

const cells = [
  cell("random", 0, 9),
  cell("random", 1, 8),
  cell("magnitude", 0, 3),
  cell("Wanda", 0, 2.5),
  cell("Wanda", 1, 3.25),
  cell("SparseGPT", 0, 2),
];

it("an order holds by the mean over draws, what is not drawn beside each", () => {
  expect(orderAt(cells, ["Wanda", "magnitude"], "50 %")).toEqual({ holds: true, difference: 0.125, wins: 1, draws: 2 });
  expect(orderAt(cells, ["magnitude", "random"], "50 %")).toMatchObject({ difference: 5.5, wins: 2, draws: 2 });
  expect(orderAt(cells, ["random", "magnitude"], "50 %")).toMatchObject({ holds: false, wins: 0 });
  expect(orderAt(cells, ["GBLM", "Wanda"], "50 %")).toBeNull();
  expect(orderAt(cells, ["Wanda", "magnitude"], "60 %")).toBeNull();
});

it("the page says means, spreads, perplexity and what fails", () => {
  const page = languagePage([run(cells)]);
  expect(page).toContain("| random | 7.500 (7.000 to 8.000) |");
  expect(page).toContain("| SparseGPT | 1.000 |");
  expect(page).toContain("| SparseGPT ≤ Wanda | holds (+0.500, 1 of 1) |");
  expect(page).toContain(`| SparseGPT | ${Math.exp(2).toFixed(2)} |`);
  expect(page).not.toContain("fails");
  const other = cells.map((one) => (one.method === "SparseGPT" ? { ...one, nll: 4 } : one));
  expect(languagePage([run(other)])).toContain("| SparseGPT ≤ Wanda | **fails** (-1.500, 0 of 1) |");
});
