import { deflateSync, gzipSync, type Zippable, zipSync } from "fflate";
import { describe, expect, test } from "vitest";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, fromInts } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { bytesSource, gunzip, inflate } from "./bytes.ts";
import { writeNpy } from "./npy.ts";
import { npzDataset, openNpz } from "./npz.ts";

function npz(arrays: Readonly<Record<string, HostTensor>>, level: 0 | 6 = 6): Uint8Array {
  const files: Zippable = {};
  for (const [name, array] of Object.entries(arrays)) files[`${name}.npy`] = [writeNpy(array), { level }];
  return zipSync(files);
}

const images = float32Tensor(
  [4, 3],
  Float32Array.from({ length: 12 }, (_, i) => i / 2),
);
const labels = fromInts("i64", [4], [3, 1, 0, 2]);

/** The same archive as zip64, as NumPy writes it for large arrays: sizes and offsets in extra fields. */
function zip64(file: Uint8Array, name: string, content: Uint8Array): Uint8Array {
  const nameBytes = new TextEncoder().encode(name);
  const local = 30 + nameBytes.length;
  const out = new Uint8Array(local + content.length + 46 + nameBytes.length + 28 + 56 + 20 + 22);
  const view = new DataView(out.buffer);
  out.set(file.subarray(0, local));
  out.set(content, local);
  let at = local + content.length;
  const directory = at;
  view.setUint32(at, 0x02014b50, true);
  for (const field of [20, 24, 42]) view.setUint32(at + field, 0xffffffff, true);
  view.setUint16(at + 28, nameBytes.length, true);
  view.setUint16(at + 30, 28, true);
  out.set(nameBytes, at + 46);
  at += 46 + nameBytes.length;
  view.setUint16(at, 1, true);
  view.setUint16(at + 2, 24, true);
  view.setBigUint64(at + 4, BigInt(content.length), true);
  view.setBigUint64(at + 12, BigInt(content.length), true);
  at += 28;
  const record = at;
  view.setUint32(at, 0x06064b50, true);
  view.setBigUint64(at + 32, 1n, true);
  view.setBigUint64(at + 40, BigInt(record - directory), true);
  view.setBigUint64(at + 48, BigInt(directory), true);
  at += 56;
  view.setUint32(at, 0x07064b50, true);
  view.setBigUint64(at + 8, BigInt(record), true);
  at += 20;
  view.setUint32(at, 0x06054b50, true);
  view.setUint16(at + 10, 0xffff, true);
  view.setUint32(at + 12, 0xffffffff, true);
  view.setUint32(at + 16, 0xffffffff, true);
  return out;
}

describe.each([0, 6] as const)("level %i", (level) => {
  test("arrays come back by name, labels as classes", async () => {
    const dataset = await npzDataset(bytesSource("cal.npz", npz({ input: images, y: labels }, level)));
    expect(dataset).toMatchObject({ count: 4, labelled: true });
    expect([...dataset.features]).toEqual([["input", { dtype: "f32", shape: [3] }]]);
    const batch = await dataset.gather(Int32Array.of(2, 0));
    expect(batch.inputs.get("input")?.bytes).toEqual(new Uint8Array(Float32Array.of(3, 3.5, 4, 0, 0.5, 1).buffer));
    expect(batch.labels).toEqual(Int32Array.of(0, 3));
  });

  test("a number without axes is the same for every sample", async () => {
    const file = npz({ t: float32Tensor([], Float32Array.of(2.5)), input: images }, level);
    const { inputs } = await (await npzDataset(bytesSource("cal.npz", file))).gather(Int32Array.of(2, 0));
    expect(inputs.get("t")).toEqual(float32Tensor([2], Float32Array.of(2.5, 2.5)));
    const alone = npz({ t: float32Tensor([], Float32Array.of(2.5)) }, level);
    await expect(npzDataset(bytesSource("cal.npz", alone))).rejects.toThrow(
      "an axis that counts samples, got a scalar",
    );
  });

  test("cut anywhere or with any byte changed: an error of ours or valid arrays", async () => {
    const file = npz({ input: images, y: labels }, level);
    const sum = async (bytes: Uint8Array) => {
      const arrays = await openNpz(bytesSource("cal.npz", bytes)).catch((error: unknown) => error);
      if (arrays instanceof Map) return arrays.size <= 2;
      return arrays instanceof EspalierError;
    };
    for (let length = 0; length < file.length; length += 3) expect(await sum(file.subarray(0, length))).toBe(true);
    for (let at = 0; at < file.length; at++) {
      const changed = file.slice();
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8));
      expect(await sum(changed), `byte ${at}`).toBe(true);
    }
  });
});

test("an array called y feeds the input of that name where the model has one", async () => {
  const dataset = await npzDataset(bytesSource("cal.npz", npz({ input: images, y: labels })), new Set(["input", "y"]));
  expect([...dataset.features.keys()]).toEqual(["input", "y"]);
  expect(dataset.labelled).toBe(false);
});

test("zip64 archives are read", async () => {
  const content = writeNpy(images);
  const plain = zipSync({ "x.npy": [content, { level: 0 }] });
  const arrays = await openNpz(bytesSource("big.npz", zip64(plain, "x.npy", content)));
  expect(arrays.get("x")).toMatchObject({ count: 4, shape: [3], dtype: "f32" });
});

test("names that point elsewhere are names and nothing more", async () => {
  const arrays = await openNpz(
    bytesSource("a.npz", zipSync({ "../../etc/x.npy": writeNpy(images), "readme.txt": new Uint8Array(9) })),
  );
  expect([...arrays.keys()]).toEqual(["../../etc/x"]);
});

test("counts that differ are refused", async () => {
  const file = npz({ a: images, b: float32Tensor([3, 1], new Float32Array(3)) });
  await expect(npzDataset(bytesSource("cal.npz", file))).rejects.toThrowErrorMatchingInlineSnapshot(
    `[EspalierError: cal.npz: expected as many samples in "b" as in "a" (4), got 3.]`,
  );
});

describe("bombs", () => {
  const zeros = new Uint8Array(80 * 2 ** 20);

  test("an array that compresses a thousandfold to more than 64 MiB is refused before it is expanded", async () => {
    const file = zipSync({ "x.npy": zeros });
    expect(file.length).toBeLessThan(200_000);
    const opening = openNpz(bytesSource("bomb.npz", file));
    await expect(opening).rejects.toMatchObject({ code: "data", message: expect.stringContaining("200 to 1") });
  });

  test.each([
    ["less", 1000],
    ["more", 2_000_000],
  ])("a size declared %s than the truth is found out", async (_, size) => {
    const stream = deflateSync(new Uint8Array(1_500_000).map((_byte, i) => (i * i) >> 7));
    const plan = { offset: 0, length: stream.length, size, crc: 0 };
    await expect(inflate(bytesSource("x", stream), "x", plan)).rejects.toMatchObject({ code: "format" });
  });

  test("a declared size that no stream can reach is not allocated", async () => {
    const plan = { offset: 0, length: 20, size: 2 ** 30, crc: 0 };
    await expect(inflate(bytesSource("x", new Uint8Array(20)), "x", plan)).rejects.toThrow(/at most 20640 bytes/);
  });

  test("gzip is bounded in the same way", async () => {
    await expect(gunzip(bytesSource("bomb.gz", gzipSync(zeros)))).rejects.toMatchObject({ code: "data" });
    const honest = new Uint8Array(3_000_000).map((_byte, i) => (i * 7) >> 5);
    const back = await gunzip(bytesSource("a.gz", gzipSync(honest)));
    expect(back.length).toBe(honest.length);
    expect(back.every((byte, i) => byte === honest[i])).toBe(true);
  });

  test("planted fault: wrong content under an honest size fails the checksum", async () => {
    const file = npz({ x: images }, 6);
    const content = deflateSync(writeNpy({ ...images, bytes: images.bytes.map((byte) => byte ^ 1) }));
    const plan = { offset: 0, length: content.length, size: writeNpy(images).length, crc: crcOf(file) };
    await expect(inflate(bytesSource("x", content), "x", plan)).rejects.toThrow(/checksum/);
  });
});

function crcOf(file: Uint8Array): number {
  return new DataView(file.buffer, file.byteOffset).getUint32(14, true);
}
