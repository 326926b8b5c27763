import { describe, expect, it } from "vitest";
import { int } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Draft } from "../graph/draft.ts";
import { checkBounds, checkTypes } from "./bounds.ts";

const smallest = (bits: 32 | 64): Uint8Array => {
  const bytes = new Uint8Array(bits / 8);
  bytes[bytes.length - 1] = 0x80;
  return bytes;
};

/** Checks the graph that `build` makes. */
function check(build: (g: Draft) => string): Promise<void> {
  const g = builder("g", 17);
  g.output(build(g), "f32");
  return checkBounds(g.finish());
}

describe("sizes that constants decide", () => {
  const zeros = (g: Draft, size: string): string => g.op("ConstantOfShape", [size], {}, "zeros");
  it("are refused when they are computed, too", async () => {
    const refused = { code: "model", where: 'ConstantOfShape "zeros"' };
    await expect(check((g) => zeros(g, g.op("Mul", [g.int64([100_000]), g.int64([100_000])])))).rejects.toMatchObject(
      refused,
    );
    await expect(
      check((g) => zeros(g, g.op("Add", [g.int64([2 ** 40]), g.op("Neg", [g.int64([5])])]))),
    ).rejects.toMatchObject(refused);
    await expect(
      check((g) => zeros(g, g.op("Concat", [g.int64([70_000]), g.int64([70_000])], { axis: int(0) }))),
    ).rejects.toMatchObject(refused);
    const gathered = (g: Draft) => g.op("Gather", [g.int64([1, 2 ** 40]), g.int64([-1])]);
    await expect(check((g) => zeros(g, gathered(g)))).rejects.toMatchObject(refused);
  });

  it("pass where they are small, or where inputs decide", async () => {
    await expect(check((g) => zeros(g, g.op("Mul", [g.int64([100]), g.int64([100])])))).resolves.toBeUndefined();
    await expect(check((g) => zeros(g, g.op("Mul", [g.input("n", "i64", [1]), g.int64([2 ** 40])])))).resolves.toBe(
      undefined,
    );
  });

  it("are refused where two constants spread each other out", async () => {
    const column = (g: Draft) => g.op("ConstantOfShape", [g.int64([2 ** 20, 1])], {}, "column");
    const row = (g: Draft) => g.op("ConstantOfShape", [g.int64([1, 2 ** 20])], {}, "row");
    for (const op of ["Add", "MatMul"]) {
      await expect(check((g) => g.op(op, [column(g), row(g)], {}, "wide"))).rejects.toMatchObject({
        code: "model",
        where: `${op} "wide"`,
      });
    }
    await expect(
      check((g) => g.op("Range", [g.int64([0], []), g.int64([2 ** 40], []), g.int64([1], [])], {}, "range")),
    ).rejects.toMatchObject({ where: 'Range "range"' });
  });
});

describe("quotients that stop the process", () => {
  it.each([32, 64] as const)("are refused in %i bits", async (bits) => {
    const dtype = bits === 64 ? "i64" : "i32";
    for (const op of ["Div", "Mod"]) {
      const build = (g: Draft, divisor: number) => {
        const by = new Uint8Array(bits / 8).fill(divisor === -1 ? 255 : 0);
        if (divisor !== -1) by[0] = divisor;
        const below = g.constant({ dtype, shape: [1], bytes: by }, "by");
        return g.op(op, [g.constant({ dtype, shape: [1], bytes: smallest(bits) }, "min"), below], {}, "q");
      };
      await expect(check((g) => build(g, -1))).rejects.toMatchObject({ code: "model", where: `${op} "q"` });
      await expect(check((g) => build(g, 3))).resolves.toBeUndefined();
    }
  });

  it("are refused when the smallest integer is computed", async () => {
    const overflow = (g: Draft) => g.op("Mul", [g.int64([2 ** 40]), g.int64([2 ** 23])]);
    await expect(check((g) => g.op("Div", [overflow(g), g.int64([-1])], {}, "q"))).rejects.toMatchObject({
      where: 'Div "q"',
    });
    await expect(check((g) => g.op("Div", [g.int64([-4]), g.int64([-1])], {}, "q"))).resolves.toBeUndefined();
  });
});

it("refuses sizes that no run could hold", () => {
  const typed = (...shape: number[]) => new Map([["x", { dtype: "f32" as const, shape }]]);
  expect(() => checkTypes(typed(2 ** 50, 4))).toThrow('value "x"');
  expect(() => checkTypes(typed(2, -4))).toThrow('value "x"');
  expect(() => checkTypes(typed(0, 2 ** 20))).not.toThrow();
});
