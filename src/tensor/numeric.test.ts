import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { DType } from "./dtype.ts";
import { decodeBfloat16, decodeFloat16, encodeBfloat16, encodeFloat16 } from "./half.ts";
import { float32Tensor, fromFloats, fromInts, pack, toFloat32, toFloat64, toInts, unpack } from "./numeric.ts";
import { tensor } from "./tensor.ts";

const allCodes = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** The nearest of all finite codes by search, ties to the even code: slow and plain. */
function nearestCode(value: number, decoded: Float32Array, infinity: number, overflow: number): number {
  const sign = Object.is(value, -0) || value < 0 ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= overflow) return sign | infinity;
  let low = 0;
  let high = infinity - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if ((decoded[middle] ?? 0) <= magnitude) low = middle;
    else high = middle - 1;
  }
  if (low === infinity - 1) return sign | low;
  const below = magnitude - (decoded[low] ?? 0);
  const above = (decoded[low + 1] ?? 0) - magnitude;
  return sign | (below < above || (below === above && low % 2 === 0) ? low : low + 1);
}

describe.each([
  { name: "f16", decode: decodeFloat16, encode: encodeFloat16, infinity: 0x7c00, overflow: 65520 },
  { name: "bf16", decode: decodeBfloat16, encode: encodeBfloat16, infinity: 0x7f80, overflow: 255.5 * 2 ** 120 },
])("$name", ({ decode, encode, infinity, overflow }) => {
  const decoded = decode(allCodes);

  it("reads and writes every code", () => {
    const back = encode(decoded);
    const wrong = allCodes.filter((code) => {
      const nan = (code & 0x7fff) > infinity;
      return nan ? !Number.isNaN(decoded[code]) || ((back[code] ?? 0) & 0x7fff) <= infinity : back[code] !== code;
    });
    expect(wrong).toEqual(new Uint16Array());
  });

  it("rounds doubles once, to nearest, ties to even", () => {
    const near = fc
      .tuple(fc.integer({ min: 0, max: infinity - 2 }), fc.constantFrom(0, 0.25, 0.5, 0.75), fc.constantFrom(-1, 0, 1))
      .map(([code, part, nudge]) => {
        const [low = 0, high = 0] = decoded.slice(code, code + 2);
        return (low + (high - low) * part) * (1 + nudge * 2 ** -45);
      });
    void fc.assert(
      fc.property(fc.oneof(near, fc.double({ noNaN: true }), fc.float({ noNaN: true })), (value) => {
        const code = encode(Float64Array.of(value))[0] ?? 0;
        expect(code).toBe(nearestCode(value, decoded, infinity, overflow));
      }),
      { numRuns: 3000 },
    );
  });

  it("would notice a rounding that goes through float32 first", () => {
    const tie = ((decoded[0x3c00] ?? 0) + (decoded[0x3c01] ?? 0)) / 2;
    const justAbove = tie * (1 + 2 ** -40);
    expect(encode(Float64Array.of(justAbove))[0]).not.toBe(encode(Float32Array.of(justAbove))[0]);
  });
});

it("knows golden half floats", () => {
  expect([...decodeFloat16(Uint16Array.of(0x0001, 0x03ff, 0x3c00, 0x7bff, 0xfc00))]).toEqual([
    2 ** -24,
    1023 * 2 ** -24,
    1,
    65504,
    Number.NEGATIVE_INFINITY,
  ]);
  expect([...encodeBfloat16(Float32Array.of(1, 3.140625, -0))]).toEqual([0x3f80, 0x4049, 0x8000]);
});

describe("numbers of tensors", () => {
  it("shares memory for aligned f32 and copies otherwise", () => {
    const values = Float32Array.of(1, 2, 3);
    const shared = toFloat32(float32Tensor([3], values));
    values[1] = 9;
    expect([...shared]).toEqual([1, 9, 3]);
    const odd = new Uint8Array(13);
    odd.set(new Uint8Array(values.buffer), 1);
    const copy = toFloat32(tensor("f32", [3], odd.subarray(1)));
    odd.fill(0);
    expect([...copy]).toEqual([1, 9, 3]);
  });

  it("reads every integer type with its sign", () => {
    const bytes = Uint8Array.of(0xff, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    const read = (dtype: DType, count: number, used: number) => toInts(tensor(dtype, [count], bytes.subarray(0, used)));
    expect(read("i8", 2, 2)).toEqual([-1, -2]);
    expect(read("u8", 2, 2)).toEqual([255, 254]);
    expect(read("bool", 2, 2)).toEqual([1, 1]);
    expect(read("i16", 1, 2)).toEqual([-257]);
    expect(read("u16", 1, 2)).toEqual([65279]);
    expect(read("i32", 1, 4)).toEqual([-257]);
    expect(read("u32", 1, 4)).toEqual([4294967039]);
    expect(read("i64", 1, 8)).toEqual([-257]);
    expect(read("i4", 4, 2)).toEqual([-1, -1, -2, -1]);
    expect(read("u4", 3, 2)).toEqual([15, 15, 14]);
    expect(read("u2", 5, 2)).toEqual([3, 3, 3, 3, 2]);
  });

  it("writes and reads 64-bit integers exactly", () => {
    void fc.assert(
      fc.property(fc.array(fc.maxSafeInteger()), (values) => {
        const t = fromInts("i64", [values.length], values);
        const view = new DataView(t.bytes.buffer);
        expect(values.map((_, i) => Number(view.getBigInt64(8 * i, true)))).toEqual(values.map((v) => v + 0));
        expect(toInts(t)).toEqual(values.map((v) => v + 0));
      }),
    );
  });

  it("packs what it unpacked", () => {
    void fc.assert(
      fc.property(fc.constantFrom("i4", "u4", "i2", "u2", "f4e2m1"), fc.uint8Array(), (dtype, bytes) => {
        const count = bytes.length * (dtype.endsWith("2") ? 4 : 2);
        expect(pack(dtype, unpack(dtype, bytes, count))).toEqual(bytes);
      }),
    );
  });

  it("refuses what it cannot represent", () => {
    const huge = tensor("i64", [1], Uint8Array.of(1, 0, 0, 0, 0, 0, 0x20, 0));
    expect(() => toInts(huge)).toThrow("below 2^53");
    expect(() => toInts(tensor("f32", [1]))).toThrow("got this type");
    expect(() => toFloat32(tensor("f8e5m2", [1]))).toThrow("got this type");
    expect(() => fromInts("i32", [1], [2 ** 31])).toThrow("expected integers from");
    expect(() => fromInts("i64", [1], [0.5])).toThrow("expected integers from");
    expect(() => fromInts("i64", [2], [1])).toThrow("expected 16 bytes");
    expect(() => toFloat32({ dtype: "f32", shape: [4], bytes: new Uint8Array(12) })).toThrow("expected 16 bytes");
  });

  it("converts floats among themselves", () => {
    const values = Float64Array.of(0.1, -2.5, 1e9);
    expect([...toFloat64(fromFloats("f64", [3], values))]).toEqual([...values]);
    expect([...toFloat64(fromFloats("f32", [3], values))]).toEqual([...new Float32Array(values)]);
    expect([...toFloat32(fromFloats("f16", [3], values))]).toEqual([0.0999755859375, -2.5, Number.POSITIVE_INFINITY]);
    expect([...toFloat32(fromFloats("bf16", [3], values))]).toEqual([0.10009765625, -2.5, 998244352]);
    expect([...toFloat64(fromInts("i64", [2], [-3, 2 ** 40]))]).toEqual([-3, 2 ** 40]);
  });
});
