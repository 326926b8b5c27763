import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DType } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { tensor } from "../../tensor/tensor.ts";
import { bytesSource } from "./bytes.ts";
import { openNpy, readNpy, writeNpy } from "./npy.ts";

const dtypes: readonly DType[] = ["bool", "i8", "i16", "i32", "i64", "u8", "u16", "u32", "u64", "f16", "f32", "f64"];

/** An .npy file with any header, so that the reader meets what the writer never writes. */
function npy(dict: string, body: Uint8Array, version = 1): Uint8Array {
  const text = new TextEncoder().encode(`${dict}\n`);
  const start = version === 1 ? 10 : 12;
  const out = new Uint8Array(start + text.length + body.length);
  out.set([0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, version, 0]);
  const view = new DataView(out.buffer);
  if (version === 1) view.setUint16(8, text.length, true);
  else view.setUint32(8, text.length, true);
  out.set(text, start);
  out.set(body, start + text.length);
  return out;
}

const dict = (descr: string, order: string, shape: string) =>
  `{'descr': '${descr}', 'fortran_order': ${order}, 'shape': ${shape}, }`;

function floats(...values: number[]): Uint8Array {
  return new Uint8Array(new Float32Array(values).buffer);
}

describe("round trips", () => {
  test.each(dtypes)("%s comes back as written", async (dtype) => {
    for (const shape of [[], [3], [2, 3], [2, 0, 3], [1, 2, 3, 2]]) {
      const blank = tensor(dtype, shape);
      const bytes = blank.bytes.map((_, i) => (dtype === "bool" ? i % 2 : (i * 37) % 113));
      const written = writeNpy({ ...blank, bytes });
      expect(await readNpy(written)).toEqual({ dtype, shape, bytes });
      expect((written.length - bytes.length) % 64).toBe(0);
    }
  });

  test("the header is what NumPy writes", () => {
    const text = new TextDecoder("latin1").decode(writeNpy(float32Tensor([2], new Float32Array(2))).subarray(10, 68));
    expect(text).toBe("{'descr': '<f4', 'fortran_order': False, 'shape': (2,), } ");
  });
});

describe("forms of other writers", () => {
  test("column-major arrays become row-major", async () => {
    // [[1, 2, 3], [4, 5, 6]] stored column by column.
    const read = await readNpy(npy(dict("<f4", "True", "(2, 3)"), floats(1, 4, 2, 5, 3, 6)));
    expect(read.bytes).toEqual(floats(1, 2, 3, 4, 5, 6));
  });

  test("column-major equals a permutation, whatever the rank", async () => {
    const [a, b, c] = [2, 3, 4];
    const stored = new Float32Array(a * b * c);
    const expected = new Float32Array(a * b * c);
    for (let i = 0; i < a; i++)
      for (let j = 0; j < b; j++)
        for (let k = 0; k < c; k++) {
          stored[i + a * (j + b * k)] = 100 * i + 10 * j + k;
          expected[(i * b + j) * c + k] = 100 * i + 10 * j + k;
        }
    const read = await readNpy(npy(dict("<f4", "True", "(2, 3, 4)"), new Uint8Array(stored.buffer)));
    expect(read.bytes).toEqual(new Uint8Array(expected.buffer));
  });

  test("big-endian arrays become little-endian, whole and by rows", async () => {
    const body = Uint8Array.of(0, 1, 0, 2, 0, 3, 0, 4);
    const file = npy(dict(">i2", "False", "(2, 2)"), body);
    expect((await readNpy(file)).bytes).toEqual(Uint8Array.of(1, 0, 2, 0, 3, 0, 4, 0));
    const rows = await openNpy(bytesSource("a.npy", file));
    expect(await rows.read(Int32Array.of(1, 0))).toEqual(Uint8Array.of(3, 0, 4, 0, 1, 0, 2, 0));
    expect(file.subarray(-8), "the source is not touched").toEqual(body);
  });

  test.each([2, 3])("version %i, other spacing and Python 2's long integers", async (version) => {
    const read = await readNpy(
      npy(`{"shape":( 2L , ),"fortran_order":False,"descr":"|u1"}`, Uint8Array.of(7, 8), version),
    );
    expect(read).toEqual({ dtype: "u8", shape: [2], bytes: Uint8Array.of(7, 8) });
  });
});

test("rows are read in any order, as slices of the whole", async () => {
  const values = Float32Array.from({ length: 24 }, (_, i) => i);
  const rows = await openNpy(bytesSource("a.npy", writeNpy(float32Tensor([6, 2, 2], values))));
  expect([rows.count, ...rows.shape]).toEqual([6, 2, 2]);
  const picked = await rows.read(Int32Array.of(4, 5, 1, 1));
  expect(picked).toEqual(floats(16, 17, 18, 19, 20, 21, 22, 23, 4, 5, 6, 7, 4, 5, 6, 7));
});

describe("hostile headers", () => {
  test.each([
    ["a shape larger than the file", dict("<f4", "False", "(1000000, 1000000)"), floats(1)],
    ["a shape beyond 2^53", dict("<f4", "False", "(9999999999999999999, 2)"), floats(1)],
    ["a product beyond all numbers", dict("<f4", "False", `(${"9007199254740991, ".repeat(60)})`), floats(1)],
    ["a negative size", dict("<f4", "False", "(-1,)"), floats(1)],
    ["too many axes", dict("<f4", "False", `(${"1, ".repeat(65)})`), floats(1)],
    ["bytes too many", dict("<f4", "False", "(1,)"), floats(1, 2)],
    ["pickled objects", dict("|O", "False", "(1,)"), floats(1)],
    ["text", dict("<U4", "False", "(1,)"), floats(1)],
    ["structures", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", floats(1)],
    ["a missing key", "{'descr': '<f4', 'shape': (1,), }", floats(1)],
    ["another key", "{'evil': '<f4', 'fortran_order': False, 'shape': (1,), }", floats(1)],
    ["no end", "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), ", floats(1)],
    ["code", "__import__('os')", floats(1)],
    ["spaces only", " ".repeat(60_000), floats(1)],
  ])("%s is refused", async (_, header, body) => {
    await expect(readNpy(npy(header, body))).rejects.toMatchObject({ name: "EspalierError", code: "format" });
  });

  test("the error names file, expectation and find", async () => {
    const file = bytesSource("cal.npy", npy(dict("<f4", "False", "(3, 2)"), floats(1)));
    await expect(openNpy(file)).rejects.toThrowErrorMatchingInlineSnapshot(
      `[EspalierError: cal.npy: expected 24 bytes of elements for [3, 2] of f32, got 4.]`,
    );
  });

  test("an array without elements cannot claim a number of samples that would fill memory", async () => {
    const { fromRows } = await import("../from-tensors.ts");
    const rows = await openNpy(
      bytesSource("a.npy", npy(dict("<f4", "False", "(9007199254740991, 0)"), new Uint8Array(0))),
    );
    expect(() => fromRows([rows], "a.npy")).toThrow(/samples with elements/);
  });

  test("cut anywhere or with any byte changed: an error of ours or a valid array", async () => {
    const file = writeNpy(float32Tensor([3, 2], Float32Array.of(1, 2, 3, 4, 5, 6)));
    for (let length = 0; length < file.length; length++) {
      await expect(readNpy(file.subarray(0, length))).rejects.toBeInstanceOf(EspalierError);
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(file.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const changed = file.slice();
        changed[at] = (changed[at] ?? 0) ^ change;
        const read = await readNpy(changed).catch((error: unknown) => error);
        return read instanceof EspalierError || (typeof read === "object" && read !== null && "bytes" in read);
      }),
      { numRuns: 1000 },
    );
  });
});

test("planted fault: a reader that forgets the order of the axes does not pass as column-major", async () => {
  const body = floats(1, 4, 2, 5, 3, 6);
  const careless = await readNpy(npy(dict("<f4", "False", "(2, 3)"), body));
  const right = await readNpy(npy(dict("<f4", "True", "(2, 3)"), body));
  expect(careless.bytes).not.toEqual(right.bytes);
});
