import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { byteLengthOf, type DType } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import { load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import { fileSource } from "../source/file.node.ts";
import { memorySource } from "../source/source.ts";
import { readSafetensors, type Safetensors } from "./read.ts";
import { saveSafetensors } from "./save.node.ts";
import { encodeSafetensors } from "./write.ts";

const dtypes = [
  "bool",
  "u8",
  "i8",
  "u16",
  "i16",
  "u32",
  "i32",
  "u64",
  "i64",
  "f16",
  "bf16",
  "f32",
  "f64",
  "c64",
  "f8e4m3fn",
  "f8e5m2",
  "f8e8m0",
] as const;

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "espalier-safetensors-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function refFrom(dtype: DType, shape: readonly number[], fill: number): TensorRef {
  const bytes = new Uint8Array(byteLengthOf(dtype, sizeOf(shape)));
  return { dtype, shape, resident: bytes.map((_, i) => (i * 7 + fill) & 255) };
}

async function bytesOfFile(file: Safetensors): Promise<Uint8Array> {
  const path = join(folder, "file.safetensors");
  await saveSafetensors(file, path);
  return new Uint8Array(readFileSync(path));
}

const anyTensor = fc.record({
  dtype: fc.constantFrom(...dtypes),
  shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
  fill: fc.integer({ min: 0, max: 255 }),
});

describe("what was written is read", () => {
  it("tensors of every type and metadata, whatever their names", async () => {
    const names = fc.string({ minLength: 1, unit: "grapheme" }).filter((name) => name !== "__metadata__");
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(names, anyTensor, { maxKeys: 6 }),
        fc.dictionary(fc.string(), fc.string(), { maxKeys: 3 }),
        async (tensors, notes) => {
          const given = new Map(Object.entries(tensors).map(([name, t]) => [name, refFrom(t.dtype, t.shape, t.fill)]));
          const metadata = new Map(Object.entries(notes));
          const found = await readSafetensors(memorySource("m", await bytesOfFile({ tensors: given, metadata })));
          expect(new Map(found.metadata)).toEqual(metadata);
          expect([...found.tensors.keys()].sort()).toEqual([...given.keys()].sort());
          for (const [name, ref] of given) {
            const { dtype, shape, bytes } = await load(found.tensors.get(name) ?? expect.fail());
            expect({ dtype, shape, bytes: [...bytes] }).toEqual({
              dtype,
              shape: ref.shape,
              bytes: [...(ref.resident ?? [])],
            });
            expect(dtype).toBe(ref.dtype);
          }
        },
      ),
      { numRuns: 40, seed: 1 },
    );
  });

  it("the same tensors give the same bytes, aligned, in whatever order they come", async () => {
    const entries = [
      ["b", refFrom("u8", [3], 1)],
      ["a", refFrom("f32", [2, 2], 2)],
      ["10", refFrom("i64", [1], 3)],
    ] as const;
    const one = await bytesOfFile({ tensors: new Map(entries), metadata: new Map([["k", "v"]]) });
    const other = await bytesOfFile({ tensors: new Map(entries.toReversed()), metadata: new Map([["k", "v"]]) });
    expect(other).toEqual(one);
    const { tensors } = await readSafetensors(memorySource("m", one));
    for (const { dtype, at } of tensors.values()) expect((at?.offset ?? 1) % byteLengthOf(dtype, 1)).toBe(0);
  });

  it("refuses what the format cannot hold", () => {
    expect(() => encodeSafetensors({ tensors: new Map([["t", refFrom("u4", [2], 0)]]), metadata: new Map() })).toThrow(
      'tensor "t": expected one that safetensors can hold, got u4.',
    );
  });
});

const data = process.env["ESPALIER_DATA"];
const checkpoint = join(data ?? "", "models/stories260K/model.safetensors");
it.skipIf(data === undefined || !existsSync(checkpoint))("reads a checkpoint of others", async () => {
  const { tensors } = await readSafetensors(await fileSource(checkpoint));
  expect(tensors.size).toBe(47);
  const total = [...tensors.values()].reduce((sum, { shape }) => sum + sizeOf(shape), 0);
  expect(total).toBe(260_032);
  const norm = toFloat32(await load(tensors.get("model.norm.weight") ?? expect.fail()));
  expect(norm.every((value) => value > 0 && value < 100)).toBe(true);
});

/** A file with this header text, and so many bytes behind it. */
function fileOf(header: string, bytes: number): Uint8Array {
  const text = new TextEncoder().encode(header);
  const file = new Uint8Array(8 + text.length + bytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}

const tensor = (dtype: string, shape: string, offsets: string) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":${offsets}}`;

describe("hostile files are refused", () => {
  it.each<[string, Uint8Array, RegExp]>([
    ["nothing", new Uint8Array(0), /at least 8 bytes, got 0/],
    ["a header longer than the file", Uint8Array.of(255, 255, 255, 255, 0, 0, 0, 0, 1), /a header inside the file/],
    ["a header of 2^63", Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 128, 1), /a header inside the file/],
    ["no JSON", fileOf("hello", 0), /a header of JSON/],
    ["a list", fileOf("[]", 0), /a header of JSON/],
    [
      "bytes that are no text",
      (() => {
        const f = fileOf("{}  ", 0);
        f[10] = 255;
        return f;
      })(),
      /a header of JSON/,
    ],
    ["an unknown type", fileOf(`{"a":${tensor("F7", "[1]", "[0,4]")}}`, 4), /a known element type of "a", got F7/],
    ["a size that does not fit", fileOf(`{"a":${tensor("F32", "[2]", "[0,4]")}}`, 4), /expected 8 bytes of "a", got 4/],
    [
      "an absurd shape",
      fileOf(`{"a":${tensor("F32", "[4294967296,4294967296,4294967296]", "[0,0]")}}`, 0),
      /bytes of "a"/,
    ],
    [
      "a shape whose product overflows to fit",
      fileOf(`{"a":${tensor("U8", "[9007199254740991,9007199254740991]", "[0,1]")}}`, 1),
      /bytes of "a"/,
    ],
    ["a negative size", fileOf(`{"a":${tensor("F32", "[-1]", "[0,4]")}}`, 4), /dtype, shape and data_offsets/],
    ["a broken size", fileOf(`{"a":${tensor("F32", "[1.5]", "[0,6]")}}`, 6), /dtype, shape and data_offsets/],
    ["offsets the wrong way", fileOf(`{"a":${tensor("F32", "[1]", "[4,0]")}}`, 4), /bytes of "a"/],
    ["a gap", fileOf(`{"a":${tensor("F32", "[1]", "[4,8]")}}`, 8), /"a" to begin at 0, got 4/],
    [
      "an overlap",
      fileOf(`{"a":${tensor("F32", "[2]", "[0,8]")},"b":${tensor("F32", "[2]", "[4,12]")}}`, 12),
      /"b" to begin at 8, got 4/,
    ],
    [
      "a name twice",
      fileOf(`{"a":${tensor("F32", "[1]", "[0,4]")},"a":${tensor("F32", "[1]", "[4,8]")}}`, 8),
      /"a" to begin at 0, got 4/,
    ],
    ["bytes behind the tensors", fileOf(`{"a":${tensor("F32", "[1]", "[0,4]")}}`, 5), /the file to end at/],
    ["a file cut short", fileOf(`{"a":${tensor("F32", "[1]", "[0,4]")}}`, 3), /the file to end at/],
    ["metadata that is no text", fileOf('{"__metadata__":{"a":1}}', 0), /metadata of texts/],
    [
      "more fields",
      fileOf('{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1}}', 0),
      /dtype, shape and data_offsets/,
    ],
  ])("%s", async (_, bytes, message) => {
    const failed = readSafetensors(memorySource("hostile", bytes));
    await expect(failed).rejects.toThrow(message);
    await expect(failed).rejects.toBeInstanceOf(EspalierError);
  });

  it("any change of a byte gives an error of its own or a file that can be read", async () => {
    const given = new Map([
      ["a", refFrom("f32", [2, 3], 1)],
      ["b", refFrom("i8", [5], 2)],
    ]);
    const bytes = await bytesOfFile({ tensors: given, metadata: new Map([["k", "v"]]) });
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const changed = bytes.slice();
        changed[at] = (changed[at] ?? 0) ^ change;
        try {
          const { tensors } = await readSafetensors(memorySource("changed", changed));
          for (const ref of tensors.values()) await load(ref);
        } catch (error) {
          expect(error).toBeInstanceOf(EspalierError);
        }
      }),
      { numRuns: 300, seed: 2 },
    );
  });
});
