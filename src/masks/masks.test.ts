import { describe, expect, it } from "vitest";
import { fromFloats } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { compareMasks, compareModels, densityProfile, nonzeroMask } from "./compare.ts";
import { CutMask } from "./cut.ts";
import { cellScores, cellsOf, checkPattern, misfit, patternMask, weightMask } from "./pattern.ts";

const grid = { rows: 5, columns: 21, positions: 3 };
const scores = new Float64Array(105);
random(0, "masks").fillUniform(scores);

describe("patterns", () => {
  it("blocks are means over rows and input features at one position", () => {
    const pattern = { kind: "block", rows: 2, columns: 4 } as const;
    const [rows, columns] = cellsOf(pattern, grid);
    expect([rows, columns]).toEqual([3, 6]);
    const cells = cellScores(pattern, grid, scores);
    for (let i = 0; i < rows; i++)
      for (let j = 0; j < columns; j++) {
        const position = j % 3;
        let sum = 0;
        let count = 0;
        for (let r = 2 * i; r < Math.min(5, 2 * i + 2); r++)
          for (let f = 4 * Math.floor(j / 3); f < Math.min(7, 4 * Math.floor(j / 3) + 4); f++, count++)
            sum += scores[r * 21 + f * 3 + position] ?? 0;
        expect(cells[i * columns + j]).toBeCloseTo(sum / count, 12);
      }
  });

  it("the mask of a block is its cell's", () => {
    const pattern = { kind: "block", rows: 2, columns: 4 } as const;
    const cells = Uint8Array.from({ length: 18 }, (_, i) => +(i === 7));
    const mask = weightMask(pattern, grid, cells);
    const kept = [...mask.entries()].filter(([, keep]) => keep === 1).map(([i]) => i);
    // Cell 7 is row block 1, feature block 0, position 1.
    expect(kept).toEqual([2, 3].flatMap((r) => [0, 1, 2, 3].map((f) => r * 21 + f * 3 + 1)));
  });

  it("N:M keeps the best along the channels, or along im2col", () => {
    const wide = { rows: 2, columns: 12, positions: 3 };
    const few = scores.slice(0, 24);
    for (const order of ["channels", "im2col"] as const) {
      const mask = patternMask({ kind: "n:m", keep: 1, of: 2, order }, wide, few);
      for (let r = 0; r < 2; r++)
        for (let c = 0; c < 12; c++) {
          const feature = Math.floor(c / 3);
          const partner = order === "im2col" ? c ^ 1 : (feature ^ 1) * 3 + (c % 3);
          expect(mask[r * 12 + c]).toBe(+((few[r * 12 + c] ?? 0) > (few[r * 12 + partner] ?? 0)));
        }
    }
  });

  it("says what does not fit", () => {
    expect(misfit({ kind: "n:m", keep: 2, of: 4 }, grid)).toBe("4 does not divide its 7 inputs");
    expect(misfit({ kind: "n:m", keep: 2, of: 3, order: "im2col" }, grid)).toBeNull();
    expect(misfit({ kind: "block", rows: 9, columns: 9 }, grid)).toBeNull();
    expect(() => checkPattern({ kind: "n:m", keep: 5, of: 4 })).toThrow("got 5:4");
    expect(() => checkPattern({ kind: "block", rows: 0, columns: 4 })).toThrow("got block 0x4");
  });
});

it("cuts fall by index across stretches", () => {
  const mask = new CutMask({ threshold: 2, ties: 3 });
  expect([...mask.next(Float64Array.from([2, 1, 3, 2]))]).toEqual([0, 0, 1, 0]);
  expect([...mask.next(Float64Array.from([2, 2, 0]))]).toEqual([0, 1, 0]);
  expect([...new CutMask({ threshold: Number.NaN, ties: 0 }).next(Float64Array.from([0, -1]))]).toEqual([1, 1]);
});

describe("comparison", () => {
  const a = Uint8Array.from([1, 1, 0, 0, 1]);
  const b = Uint8Array.from([1, 0, 1, 0, 0]);

  it("counts what both, either and one keep", () => {
    expect(compareMasks(a, b)).toEqual({ size: 5, kept: [3, 2], jaccard: 0.25, overlap: 0.5, flips: 3 });
    expect(compareMasks(a, a)).toMatchObject({ jaccard: 1, overlap: 1, flips: 0 });
    expect(compareMasks(new Uint8Array(2), new Uint8Array(2))).toMatchObject({ jaccard: 1, overlap: 1, flips: 0 });
    expect(() => compareMasks(a, new Uint8Array(4))).toThrow("got 5 and 4");
  });

  it("adds up over a model as over one long mask", () => {
    const joined = (m: Uint8Array, n: Uint8Array) => Uint8Array.from([...m, ...n]);
    const whole = compareMasks(joined(a, b), joined(b, b));
    expect(
      compareModels(
        new Map([
          ["x", a],
          ["y", b],
        ]),
        new Map([
          ["x", b],
          ["y", b],
        ]),
      ),
    ).toEqual(whole);
    expect(() => compareModels(new Map([["x", a]]), new Map())).toThrow("x: expected a mask in both");
  });

  it("profiles density, and reads masks off weights", () => {
    expect(
      densityProfile(
        new Map([
          ["x", a],
          ["y", b],
        ]),
      ),
    ).toEqual({
      total: 0.5,
      layers: [
        { name: "x", kept: 3, size: 5 },
        { name: "y", kept: 2, size: 5 },
      ],
    });
    expect([...nonzeroMask(fromFloats("f16", [3], Float32Array.from([0, -1, -0])))]).toEqual([0, 1, 0]);
  });
});
