import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { gzipSync, zipSync } from "fflate";
import sharp from "sharp";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor, fromInts, toFloat32, toFloat64 } from "../tensor/numeric.ts";
import { tensor } from "../tensor/tensor.ts";
import type { IndexedDataset } from "./dataset.ts";
import { bytesSource } from "./files/bytes.ts";
import { openCifar } from "./files/cifar.ts";
import { openIdx } from "./files/idx.ts";
import { imageFolder } from "./files/images.node.ts";
import { writeNpy } from "./files/npy.ts";
import { parsePreprocessor } from "./files/preprocessor.ts";
import { openData } from "./open.node.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "espalier-data-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function put(name: string, bytes: Uint8Array | string): Promise<string> {
  const path = join(folder, name);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
  return path;
}

type Colour = readonly [number, number, number];

async function png(name: string, width: number, height: number, at: (x: number, y: number) => Colour): Promise<string> {
  const pixels = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) pixels.set(at(x, y), 3 * (y * width + x));
  return put(
    name,
    await sharp(pixels, { raw: { width, height, channels: 3 } })
      .png()
      .toBuffer(),
  );
}

async function only(
  dataset: IndexedDataset,
  at = [0],
): Promise<{ values: number[]; shape: readonly number[]; dtype: string }> {
  const batch = await dataset.gather(Int32Array.from(at));
  for (const input of batch.inputs.values()) {
    return { values: [...toFloat32(input)], shape: input.shape, dtype: input.dtype };
  }
  return { values: [], shape: [], dtype: "" };
}

const plane = (value: number, n: number) => new Array<number>(n).fill(value);

/** A CIFAR-10 file whose image i has class i mod 10 and bytes i, 50 + i, 100 + i in its planes. */
function cifar(count: number): Uint8Array {
  const out = new Uint8Array(count * 3073);
  for (let i = 0; i < count; i++) {
    out[i * 3073] = i % 10;
    for (let c = 0; c < 3; c++) out.fill(50 * c + i, i * 3073 + 1 + 1024 * c, i * 3073 + 1 + 1024 * (c + 1));
  }
  return out;
}

function idx(type: number, dims: readonly number[], body: Uint8Array): Uint8Array {
  const out = new Uint8Array(4 + 4 * dims.length + body.length);
  const view = new DataView(out.buffer);
  out.set([0, 0, type, dims.length]);
  for (const [i, n] of dims.entries()) view.setUint32(4 + 4 * i, n);
  out.set(body, 4 + 4 * dims.length);
  return out;
}

describe("CIFAR", () => {
  test("records become labelled planes, scaled to 0..1 unless told", async () => {
    const data = await openData(await put("batch.bin", cifar(12)));
    expect(data).toMatchObject({ count: 12, labelled: true });
    const { values, shape } = await only(data, [11]);
    expect(shape).toEqual([1, 3, 32, 32]);
    expect(values).toEqual([11, 61, 111].flatMap((v) => plane(Math.fround(v / 255), 1024)));
    expect((await data.gather(Int32Array.of(11, 3))).labels).toEqual(Int32Array.of(1, 3));
  });

  test("files are joined, limited and drawn by seed", async () => {
    const path = await put("batch.bin", cifar(12));
    expect((await openData([path, path])).count).toBe(24);
    const drawn = await openData([path, path], { limit: 5, seed: 1 });
    const again = await openData([path, path], { limit: 5, seed: 1 });
    expect(await only(drawn, [0, 4])).toEqual(await only(again, [0, 4]));
    expect(drawn.count).toBe(5);
  });

  test("a model that takes bytes, channels last, gets them", async () => {
    const inputs = [{ name: "image", dtype: "u8", dims: ["n", 32, 32, 3] }] as const;
    const { values, shape, dtype } = await only(await openData(await put("batch.bin", cifar(3)), { inputs }), [2]);
    expect([shape, dtype, values.slice(0, 4)]).toEqual([[1, 32, 32, 3], "u8", [2, 52, 102, 2]]);
  });

  test("sizes and labels that do not fit are refused", async () => {
    await expect(openCifar(bytesSource("a.bin", cifar(2).subarray(1)))).rejects.toThrow(/records of 3073 bytes/);
    const wrong = cifar(3);
    wrong[3073] = 10;
    await expect(openCifar(bytesSource("a.bin", wrong))).rejects.toThrow(
      /labels below 10 for CIFAR-10, got 10 in record 1/,
    );
    const hundred = new Uint8Array(2 * 3074);
    hundred.set([7, 99]);
    expect((await (await openCifar(bytesSource("b.bin", hundred))).gather(Int32Array.of(0))).labels).toEqual(
      Int32Array.of(99),
    );
  });
});

describe("idx", () => {
  const pixels = Uint8Array.from({ length: 3 * 2 * 2 }, (_, i) => i * 20);

  test("images find their labels beside them, gzipped or not", async () => {
    const images = await put("mnist/t-images-idx3-ubyte.gz", gzipSync(idx(8, [3, 2, 2], pixels)));
    await put("mnist/t-labels-idx1-ubyte", idx(8, [3], Uint8Array.of(5, 0, 4)));
    const data = await openData(images);
    expect(data).toMatchObject({ count: 3, labelled: true });
    expect((await data.gather(Int32Array.of(2, 0))).labels).toEqual(Int32Array.of(4, 5));
    expect((await only(data, [1])).values).toEqual([80, 100, 120, 140].map((v) => Math.fround(v / 255)));
    expect((await only(data)).shape).toEqual([1, 1, 2, 2]);
  });

  test("numbers are big-endian", async () => {
    const rows = await openIdx(bytesSource("a.idx", idx(0x0c, [2], Uint8Array.of(0, 0, 1, 2, 0xff, 0xff, 0xff, 0xfe))));
    expect(await rows.read(Int32Array.of(0, 1))).toEqual(new Uint8Array(Int32Array.of(258, -2).buffer));
  });

  test("cut anywhere or with any byte changed: an error of ours or a valid array", async () => {
    for (const file of [idx(8, [3, 2, 2], pixels), gzipSync(idx(8, [3, 2, 2], pixels))]) {
      for (let at = 0; at < file.length; at++) {
        await expect(openIdx(bytesSource("a.idx", file.subarray(0, at)))).rejects.toBeInstanceOf(EspalierError);
        for (const change of [1, 0x80, 0xff]) {
          const changed = file.slice();
          changed[at] = (changed[at] ?? 0) ^ change;
          const read = await openIdx(bytesSource("a.idx", changed)).catch((error: unknown) => error);
          expect(read instanceof EspalierError || (read instanceof Object && "count" in read), `byte ${at}`).toBe(true);
        }
      }
    }
  });
});

describe("folders of images", () => {
  test("a flat folder has no labels; pixels come back exactly", async () => {
    await png("flat/b.png", 3, 2, (x, y) => [10 * x, 100 + y, 7]);
    await png("flat/a.png", 3, 2, () => [1, 2, 3]);
    const data = await imageFolder(join(folder, "flat"));
    expect(data).toMatchObject({ count: 2, labelled: false });
    const { values, shape, dtype } = await only(data, [1]);
    expect([shape, dtype]).toEqual([[1, 3, 2, 3], "u8"]);
    expect(values).toEqual([0, 10, 20, 0, 10, 20, 100, 100, 100, 101, 101, 101, 7, 7, 7, 7, 7, 7]);
    const last = await only(await imageFolder(join(folder, "flat"), { layout: "nhwc" }), [1]);
    expect([last.shape, last.values.slice(0, 6)]).toEqual([
      [1, 2, 3, 3],
      [0, 100, 7, 10, 100, 7],
    ]);
  });

  test("subfolders are classes in the order of their names", async () => {
    await png("classes/zebra/1.png", 2, 2, () => [9, 9, 9]);
    await png("classes/Ant/1.png", 2, 2, () => [1, 1, 1]);
    await png("classes/bee/deep/1.png", 2, 2, () => [5, 5, 5]);
    const data = await openData(join(folder, "classes"), { scale: 1 });
    expect(data).toMatchObject({ count: 3, labelled: true });
    const batch = await data.gather(Int32Array.of(0, 1, 2));
    expect(batch.labels).toEqual(Int32Array.of(0, 1, 2));
    expect((await only(data, [0, 1, 2])).values.filter((_, i) => i % 12 === 0)).toEqual([1, 5, 9]);
  });

  test("the middle is taken after the shorter side is scaled", async () => {
    // Thirds of red, green and blue; the middle square of 6 x 2 pixels is green only.
    await png("wide/a.png", 24, 8, (x) => (x < 8 ? [255, 0, 0] : x < 16 ? [0, 255, 0] : [0, 0, 255]));
    const { values, shape } = await only(await openData(join(folder, "wide"), { size: 4, resize: 8, scale: 1 }));
    expect(shape).toEqual([1, 3, 4, 4]);
    expect(values).toEqual([...plane(0, 16), ...plane(255, 16), ...plane(0, 16)]);
    const scaled = await only(await openData(join(folder, "wide"), { size: [2, 6], scale: 1 }));
    expect(scaled.shape).toEqual([1, 3, 2, 6]);
  });

  test("grey, alpha and 16-bit pictures become three channels of bytes", async () => {
    const raw = { width: 2, height: 2 };
    const grey = sharp(Uint8Array.of(0, 50, 100, 200), { raw: { ...raw, channels: 1 } });
    await put("kinds/a.png", await grey.toColourspace("b-w").png().toBuffer());
    const alpha = Uint8Array.from({ length: 16 }, (_, i) => (i % 4 === 3 ? 0 : 60));
    await put(
      "kinds/b.png",
      await sharp(alpha, { raw: { ...raw, channels: 4 } })
        .png()
        .toBuffer(),
    );
    await put(
      "kinds/c.png",
      await sharp(alpha, { raw: { ...raw, channels: 4 } })
        .toColourspace("rgb16")
        .png()
        .toBuffer(),
    );
    const data = await imageFolder(join(folder, "kinds"));
    expect((await only(data, [0])).values).toEqual([0, 50, 100, 200, 0, 50, 100, 200, 0, 50, 100, 200]);
    expect((await only(data, [1])).values).toEqual(plane(60, 12));
    expect((await only(data, [2])).values).toEqual(plane(60, 12));
    const one = await only(await imageFolder(join(folder, "kinds"), { channels: 1 }), [0]);
    expect(one.values).toEqual([0, 50, 100, 200]);
  });

  test("the model's input and a preprocessor_config.json give the defaults", async () => {
    await png("wide/a.png", 24, 8, (x) => (x < 8 ? [255, 0, 0] : x < 16 ? [0, 255, 0] : [0, 0, 255]));
    const inputs = [{ name: "x", dtype: "f32", dims: ["n", 3, 4, 4] }] as const;
    const config = {
      size: { shortest_edge: 8 },
      crop_size: 4,
      do_center_crop: true,
      image_mean: [0, 0.5, 0],
      image_std: [1, 0.25, 1],
    };
    await put("model/preprocessor_config.json", JSON.stringify(config));
    const model = join(folder, "model/net.onnx");
    const { values, shape } = await only(await openData(join(folder, "wide"), { inputs, model }));
    expect(shape).toEqual([1, 3, 4, 4]);
    expect(values).toEqual([...plane(0, 16), ...plane(2, 16), ...plane(0, 16)]);
    expect((await only(await openData(join(folder, "wide"), { inputs }))).shape).toEqual([1, 3, 4, 4]);
  });

  test("a broken image is named, sizes that differ too", async () => {
    await png("broken/a.png", 2, 2, () => [1, 1, 1]);
    const bad = await put("broken/b.png", "not an image");
    const data = await openData(join(folder, "broken"));
    await expect(data.gather(Int32Array.of(0, 1))).rejects.toMatchObject({ code: "data", where: bad });
    await png("uneven/a.png", 2, 2, () => [1, 1, 1]);
    await png("uneven/b.png", 3, 2, () => [1, 1, 1]);
    await expect((await openData(join(folder, "uneven"))).gather(Int32Array.of(1))).rejects.toThrow(
      /2 x 2 pixels like .* got 3 x 2/,
    );
  });

  test("an empty folder, one of other files, one of both forms", async () => {
    await mkdir(join(folder, "empty"));
    await expect(openData(join(folder, "empty"))).rejects.toThrow(/expected images .* got an empty folder/);
    await put("other/x.npy", "");
    await expect(openData(join(folder, "other"))).rejects.toThrow(/named one by one/);
    await png("mixed/a.png", 2, 2, () => [1, 1, 1]);
    await png("mixed/c/a.png", 2, 2, () => [1, 1, 1]);
    await expect(openData(join(folder, "mixed"))).rejects.toThrow(/one subfolder per class, got 1 and 1/);
  });
});

describe("openData", () => {
  const x = float32Tensor([3, 2], Float32Array.of(1, 2, 3, 4, 5, 6));

  test("arrays are taken as they are, with labels from a file", async () => {
    const path = await put("x.npy", writeNpy(x));
    const labels = await put("y.txt", "2\n0\n1\n");
    const data = await openData(path, { labels, inputs: [{ name: "in", dtype: "f32", dims: ["n", 2] }] });
    expect((await only(data, [2])).values).toEqual([5, 6]);
    expect((await data.gather(Int32Array.of(0))).labels).toEqual(Int32Array.of(2));
    await expect(
      openData(path, { labels: await put("z.npy", writeNpy(fromInts("i64", [2], [0, 1]))) }),
    ).rejects.toThrow(/one label for each of 3/);
    await expect(openData(path, { labels: await put("z.txt", "1\ncat\n2") })).rejects.toThrow(/got "cat" on line 2/);
  });

  test("archives feed several inputs, and only floats are normalised", async () => {
    const file = zipSync({
      "a.npy": writeNpy(x),
      "ids.npy": writeNpy(fromInts("i64", [3, 2], [1, 2, 3, 4, 5, 6])),
      "labels.npy": writeNpy(fromInts("i32", [3], [0, 1, 2])),
    });
    const data = await openData(await put("d.npz", file), { mean: [1] });
    expect(data.labelled).toBe(true);
    const { inputs } = await data.gather(Int32Array.of(0));
    expect([...toFloat32(inputs.get("a") ?? tensor("f32", [0]))]).toEqual([0, 1]);
    expect(inputs.get("ids")).toMatchObject({ dtype: "i64" });
  });

  test("made-up inputs need a model", async () => {
    await expect(openData("random")).rejects.toThrow(/expected a model/);
    const tokens = { name: "ids", dtype: "i64", dims: ["n", "time"] } as const;
    const drawn = await openData("random", { limit: 40, inputs: [tokens], text: { window: 6, vocabulary: 50 } });
    expect(drawn.features.get("ids")?.shape).toEqual([6]);
    const { inputs } = await drawn.gather(Int32Array.from({ length: 40 }, (_, i) => i));
    const found = new Set(toFloat64(inputs.get("ids") ?? expect.fail()));
    expect(found.size).toBeGreaterThan(40);
    expect(Math.max(...found)).toBe(49);
    // A mask beside them is none of them.
    const mask = { name: "mask", dtype: "i64", dims: ["n", 6] } as const;
    const both = await openData("random", { inputs: [{ ...tokens, dims: ["n", 6] }, mask], text: { vocabulary: 50 } });
    const first = (await both.gather(Int32Array.of(0))).inputs.get("mask") ?? expect.fail();
    expect(Math.max(...toFloat64(first))).toBeLessThan(2);
    const data = await openData("random", { limit: 3, inputs: [{ name: "x", dtype: "f32", dims: ["n", 2] }] });
    expect(data.count).toBe(3);
  });

  test("what cannot be opened is explained", async () => {
    await expect(openData(join(folder, "nothing.npy"))).rejects.toMatchObject({
      code: "file",
      message: expect.stringContaining("nothing there"),
    });
    await expect(openData(await put("notes.docx", "hello"))).rejects.toThrow(
      /expected one of a folder of images; .npy; .* got "\.docx"/,
    );
    await expect(
      openData(await put("nan.npy", writeNpy(float32Tensor([1, 2], Float32Array.of(1, Number.NaN))))),
    ).resolves.toBeDefined();
    await expect(only(await openData(join(folder, "nan.npy")))).rejects.toThrow(/got NaN in sample 0 at element 1/);
    await expect(openData(await put("empty.npy", ""))).rejects.toMatchObject({ code: "format" });
  });

  test("planted fault: planes read as interleaved pixels are not the image", async () => {
    const data = await openData(await put("batch.bin", cifar(3)), { scale: 1 });
    const right = await only(data, [2]);
    expect(right.values.slice(0, 3)).toEqual([2, 2, 2]);
    expect(right.values.slice(0, 3)).not.toEqual([2, 52, 102]);
  });
});

describe("preprocessor configurations", () => {
  test.each([
    [
      "ViT",
      { size: 224, resample: 2, image_mean: [0.5, 0.5, 0.5], image_std: [0.5, 0.5, 0.5] },
      { exact: { height: 224, width: 224 }, resample: "linear", mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5] },
    ],
    [
      "CLIP",
      {
        size: { shortest_edge: 224 },
        do_center_crop: true,
        crop_size: { height: 224, width: 224 },
        resample: 3,
        rescale_factor: 0.5,
      },
      { cover: { height: 224, width: 224 }, crop: { height: 224, width: 224 }, resample: "cubic", scale: 0.5 },
    ],
    [
      "ConvNeXt",
      { size: { shortest_edge: 224 }, crop_pct: 0.875, resample: 3 },
      { cover: { height: 256, width: 256 }, crop: { height: 224, width: 224 }, resample: "cubic" },
    ],
    [
      "nothing to do",
      { do_resize: false, size: 3, do_rescale: false, do_normalize: false, image_mean: [1] },
      { scale: 1 },
    ],
  ])("%s", (_, config, expected) => {
    expect(parsePreprocessor(JSON.stringify(config), "config")).toEqual(expected);
  });

  test.each(["", "[1]", '{"size": -1}', '{"size": 1e9}', '{"image_mean": "x"}'])("%s is refused", (text) => {
    expect(() => parsePreprocessor(text, "config")).toThrow(EspalierError);
  });
});

const { ESPALIER_DATA } = process.env;
const dataFolder = ESPALIER_DATA ?? join(import.meta.dirname, "../../../shared/data");
const missing = !existsSync(join(dataFolder, "cifar10/test.bin"));

describe.skipIf(missing)(
  `real data (${missing ? "skipped: set ESPALIER_DATA to the data folder" : dataFolder})`,
  () => {
    test("CIFAR-10: a thousand of each class, and the pixels' known mean", async () => {
      const mean = [0.485, 0.456, 0.406];
      const std = [0.229, 0.224, 0.225];
      const data = await openData(join(dataFolder, "cifar10/test.bin"), { mean, std });
      const counts = new Array<number>(10).fill(0);
      const sums = [0, 0, 0];
      for await (const { inputs, labels, count } of data.batches(256)) {
        for (const label of labels ?? []) counts[label] = (counts[label] ?? 0) + 1;
        const values = toFloat32(inputs.get("data") ?? tensor("f32", [0]));
        for (let plane = 0; plane < 3 * count; plane++) {
          let sum = 0;
          for (let i = plane * 1024; i < (plane + 1) * 1024; i++) sum += values[i] ?? 0;
          sums[plane % 3] = (sums[plane % 3] ?? 0) + sum / 1024;
        }
      }
      expect(counts).toEqual(plane(1000, 10));
      // Published means of the test set: 0.4942, 0.4851, 0.4504.
      const means = sums.map((sum, c) => (sum / 10_000) * (std[c] ?? 1) + (mean[c] ?? 0));
      for (const [c, known] of [0.4942, 0.4851, 0.4504].entries()) expect(means[c]).toBeCloseTo(known, 3);
    });

    test("MNIST: ten thousand digits with their labels", async () => {
      const data = await openData(join(dataFolder, "mnist/t10k-images-idx3-ubyte.gz"));
      expect(data).toMatchObject({ count: 10_000, labelled: true });
      expect((await data.gather(Int32Array.of(0, 1, 2, 3, 4))).labels).toEqual(Int32Array.of(7, 2, 1, 0, 4));
      expect((await only(data)).shape).toEqual([1, 1, 28, 28]);
    });
  },
);
