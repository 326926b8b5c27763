import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { byteLengthOf, type DType } from "./dtype.ts";
import { pack, toInts, unpack } from "./numeric.ts";
import { random } from "./random.ts";
import { type AxisCut, takeAlong, takeMany, transpose } from "./slice.ts";
import { type HostTensor, sizeOf, tensor } from "./tensor.ts";

const dtypes: readonly DType[] = ["f32", "f16", "f64", "u8", "i64", "c128", "i4", "u2", "bool", "f8e5m2"];

/** A tensor of random bytes, so that every bit pattern, signalling NaN included, passes through. */
function noise(dtype: DType, shape: readonly number[], seed: number, odd = false): HostTensor {
  const length = byteLengthOf(dtype, sizeOf(shape));
  const r = random(seed);
  const bytes = Uint8Array.from({ length: length + 1 }, () => r.int(256)).subarray(odd ? 1 : 0, length + (odd ? 1 : 0));
  const perByte = 1 / byteLengthOf(dtype, 1);
  return perByte === 1 && dtype.match(/[42]$/)
    ? tensor(dtype, shape, pack(dtype, unpack(dtype, bytes, sizeOf(shape))))
    : tensor(dtype, shape, bytes);
}

/** The bytes of element i as text, or its bits where it is smaller than a byte. */
function element(t: HostTensor, i: number): string {
  if (t.dtype === "i4" || t.dtype === "u2") return `${unpack(t.dtype, t.bytes, i + 1)[i]}`;
  const width = byteLengthOf(t.dtype, 1);
  return t.bytes.slice(i * width, (i + 1) * width).join();
}

/** Element by element: `source` gives for each output position its position in the input. */
function gathered(t: HostTensor, shape: readonly number[], source: (position: number[]) => number[]): string[] {
  return Array.from({ length: sizeOf(shape) }, (_, flat) => {
    const position: number[] = [];
    let rest = flat;
    for (const n of shape.toReversed()) {
      position.unshift(rest % n);
      rest = Math.floor(rest / n);
    }
    return element(
      t,
      source(position).reduce((at, p, axis) => at * (t.shape[axis] ?? 1) + p, 0),
    );
  });
}

function elements(t: HostTensor): string[] {
  return Array.from({ length: sizeOf(t.shape) }, (_, i) => element(t, i));
}

const shapes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 4 });

describe("takeMany", () => {
  it("equals gathering element by element", () => {
    void fc.assert(
      fc.property(fc.constantFrom(...dtypes), shapes, fc.nat(), fc.boolean(), (dtype, shape, seed, odd) => {
        const t = noise(dtype, shape, seed, odd);
        const r = random(seed, "cuts");
        const cuts: AxisCut[] = [];
        shape.forEach((n, axis) => {
          if (r.int(2) === 0) return;
          const indices = Int32Array.from({ length: r.int(n + 2) }, () => r.int(n));
          cuts.push({
            axis: r.int(2) === 0 ? axis : axis - shape.length,
            indices: r.int(2) ? indices : indices.sort(),
          });
        });
        const indicesOf = (axis: number) =>
          cuts.find((c) => c.axis === axis || c.axis === axis - shape.length)?.indices;
        const out = takeMany(t, cuts);
        const expectedShape = shape.map((n, axis) => indicesOf(axis)?.length ?? n);
        expect(out.shape).toEqual(expectedShape);
        expect(elements(out)).toEqual(
          gathered(t, expectedShape, (position) => position.map((p, axis) => indicesOf(axis)?.[p] ?? p)),
        );
      }),
      { numRuns: 400 },
    );
  });

  it("copies long runs whole", () => {
    const t = noise("f32", [6, 100], 4);
    const out = takeAlong(t, 0, Int32Array.of(1, 2, 5));
    expect(out.bytes).toEqual(Uint8Array.of(...t.bytes.slice(400, 1200), ...t.bytes.slice(2000, 2400)));
  });

  it("would notice indices that were sorted on the way", () => {
    const t = tensor("u8", [3], Uint8Array.of(10, 20, 30));
    expect(toInts(takeAlong(t, 0, Int32Array.of(2, 0)))).toEqual([30, 10]);
  });

  it("refuses indices, axes and types that do not fit", () => {
    const t = tensor("f32", [2, 3]);
    expect(() => takeAlong(t, 1, Int32Array.of(3))).toThrow(
      "tensor [2, 3] of f32: expected indices of axis 1 below 3, got 3.",
    );
    expect(() => takeAlong(t, 0, Int32Array.of(-1))).toThrow("got -1");
    expect(() => takeAlong(t, 2, Int32Array.of(0))).toThrow("expected an axis of it, got 2");
    const cut = { axis: 0, indices: Int32Array.of(0) };
    expect(() => takeMany(t, [cut, { ...cut, axis: -2 }])).toThrow("got two");
    expect(() => takeMany({ dtype: "string", shape: [1], bytes: new Uint8Array(1) }, [cut])).toThrow("got strings");
    expect(() => takeMany({ dtype: "f32", shape: [2], bytes: new Uint8Array(4) }, [cut])).toThrow("expected 8 bytes");
  });
});

describe("transpose", () => {
  it("equals gathering element by element", () => {
    void fc.assert(
      fc.property(fc.constantFrom(...dtypes), shapes, fc.nat(), (dtype, shape, seed) => {
        const t = noise(dtype, shape, seed);
        const order = [...random(seed, "order").permutation(shape.length)];
        const out = transpose(t, order);
        const expectedShape = order.map((axis) => shape[axis] ?? 1);
        expect(out.shape).toEqual(expectedShape);
        expect(elements(out)).toEqual(
          gathered(t, expectedShape, (position) => shape.map((_, axis) => position[order.indexOf(axis)] ?? 0)),
        );
      }),
      { numRuns: 300 },
    );
  });

  it("comes back when done twice on matrices larger than a tile", () => {
    const t = noise("f16", [70, 45], 1);
    expect(transpose(transpose(t, [1, 0]), [1, 0]).bytes).toEqual(t.bytes);
    expect(transpose(t, [1, 0]).bytes).not.toEqual(t.bytes);
  });

  it("refuses what is no order of the axes", () => {
    expect(() => transpose(tensor("f32", [2, 3]), [0, 0])).toThrow("expected an order of the axes [0, 1], got [0, 0].");
  });
});
