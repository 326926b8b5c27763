import { mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Graph } from "../../graph/graph.ts";
import { load, type TensorRef } from "../../tensor/tensor.ts";
import { modelOf } from "./encode.ts";
import { openOnnx, siblings } from "./external.node.ts";
import { saveOnnx } from "./save.node.ts";

const weights = Uint8Array.from({ length: 400_000 }, (_, i) => (i * 13) & 255);
const shared: TensorRef = { dtype: "f32", shape: [100_000], resident: weights };

function graphOf(constants: Record<string, TensorRef>): Graph {
  return {
    name: "g",
    inputs: [{ name: "x", dtype: "f32", dims: [1] }],
    outputs: [{ name: "y", dtype: "f32", dims: [1] }],
    nodes: [{ name: "", domain: "", op: "Abs", inputs: ["x"], outputs: ["y"], attributes: new Map() }],
    constants: new Map(Object.entries(constants)),
    opsets: new Map([["", 17]]),
    valueInfo: new Map(),
  };
}

const model = modelOf(
  graphOf({
    a: shared,
    tied: shared,
    odd: { dtype: "u8", shape: [5001], resident: weights.slice(0, 5001) },
    tiny: { dtype: "i64", shape: [1], resident: new Uint8Array(8) },
  }),
);

let root = "";
let folder = "";
let count = 0;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "espalier-save-"));
});
beforeEach(async () => {
  folder = join(root, String(count++));
  await mkdir(folder);
});
afterAll(() => rm(root, { recursive: true }));

const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

describe("saving", () => {
  it("writes one file, or a model and its data", async () => {
    await saveOnnx(model, join(folder, "one.onnx"));
    await saveOnnx(model, join(folder, "two.onnx"), { externalData: true });
    expect((await readdir(folder)).sort()).toEqual(["one.onnx", "two.onnx", "two.onnx_data"]);
    // Tied weights once, then the odd tensor on the next line.
    expect((await stat(join(folder, "two.onnx_data"))).size).toBe(400_000 + 5001);
    for (const name of ["one.onnx", "two.onnx"]) {
      const again = await openOnnx(join(folder, name));
      for (const [key, ref] of model.graph.constants) {
        const got = again.graph.constants.get(key);
        expect(got !== undefined && same((await load(got)).bytes, ref.resident ?? new Uint8Array(0)), key).toBe(true);
      }
      await saveOnnx(again, join(folder, "copy.onnx"), { externalData: name === "two.onnx" });
      const copied = name === "two.onnx" ? "copy.onnx_data" : "copy.onnx";
      const original = name === "two.onnx" ? "two.onnx_data" : "one.onnx";
      expect(same(await readFile(join(folder, copied)), await readFile(join(folder, original)))).toBe(true);
    }
  });

  it("loads in the runtime, data file included", async ({ skip }) => {
    const ort = await import("onnxruntime-node").catch(() => undefined);
    if (ort === undefined) return skip("onnxruntime-node cannot be loaded here");
    const path = join(folder, "m.onnx");
    await saveOnnx(
      modelOf({
        ...graphOf({ a: shared }),
        nodes: [{ name: "", domain: "", op: "Add", inputs: ["x", "a"], outputs: ["y"], attributes: new Map() }],
        outputs: [{ name: "y", dtype: "f32", dims: [100_000] }],
      }),
      path,
      { externalData: true },
    );
    const session = await ort.InferenceSession.create(path);
    const { y } = await session.run({ x: new ort.Tensor("float32", [0], [1]) });
    const floats = new Float32Array(weights.buffer);
    expect(y?.dims).toEqual([100_000]);
    expect(y?.data[77]).toBe(floats[77]);
    await session.release();
  });

  it("never writes over what its weights are read from", async () => {
    const path = join(folder, "in.onnx");
    await saveOnnx(model, path);
    const before = await readFile(path);
    const opened = await openOnnx(path);
    await expect(saveOnnx(opened, path)).rejects.toMatchObject({ code: "request" });
    await symlink(path, join(folder, "link.onnx"));
    await expect(saveOnnx(opened, join(folder, "link.onnx"))).rejects.toMatchObject({ code: "request" });
    expect(same(await readFile(path), before)).toBe(true);
  });

  it("leaves nothing behind when it fails, and the old output whole", async () => {
    const path = join(folder, "out.onnx");
    await writeFile(path, "old");
    const broken: TensorRef = {
      dtype: "f32",
      shape: [2_000_000],
      at: {
        source: { name: "gone", size: 8_000_000, read: () => Promise.reject(new Error("ENOSPC: disk full")) },
        offset: 0,
        length: 8_000_000,
      },
    };
    for (const externalData of [false, true]) {
      await expect(saveOnnx(modelOf(graphOf({ broken })), path, { externalData })).rejects.toMatchObject({
        code: "file",
      });
    }
    await expect(saveOnnx(model, join(folder, "none", "out.onnx"))).rejects.toMatchObject({ code: "file" });
    await mkdir(join(folder, "taken.onnx"));
    await expect(saveOnnx(model, join(folder, "taken.onnx"))).rejects.toMatchObject({ code: "file" });
    expect((await readdir(folder)).sort()).toEqual(["out.onnx", "taken.onnx"]);
    expect(await readFile(path, "utf8")).toBe("old");
  });
});

describe("data files", () => {
  it("are found inside the model's folder only", async () => {
    const inside = join(folder, "inside");
    await mkdir(join(inside, "sub"), { recursive: true });
    await writeFile(join(folder, "secret.bin"), "secret");
    await writeFile(join(inside, "m.onnx"), "");
    await writeFile(join(inside, "sub", "w.bin"), "weights");
    await symlink(join(folder, "secret.bin"), join(inside, "link.bin"));
    await symlink(folder, join(inside, "up"));
    await symlink(join(inside, "sub", "w.bin"), join(inside, "alias.bin"));
    const open = siblings(join(inside, "m.onnx"));
    for (const good of ["sub/w.bin", "./sub/w.bin", "alias.bin"]) expect((await open(good)).size).toBe(7);
    const escapes = ["../secret.bin", "sub/../../secret.bin", join(folder, "secret.bin"), "link.bin", "up/secret.bin"];
    for (const bad of [...escapes, "..\\secret.bin", "C:\\x", "\\x", "", ".", "a\0b"]) {
      await expect(open(bad), bad).rejects.toThrow(/expected data files inside the model's folder/);
    }
    await expect(open("none.bin")).rejects.toMatchObject({ code: "file" });
    await expect(open("sub")).rejects.toMatchObject({ code: "file" });
  });

  it("are found where a hub's cache links model and data", async () => {
    await mkdir(join(folder, "blobs"));
    await mkdir(join(folder, "snapshot"));
    await writeFile(join(folder, "blobs", "111"), "");
    await writeFile(join(folder, "blobs", "222"), "weights");
    await symlink("../blobs/111", join(folder, "snapshot", "m.onnx"));
    await symlink("../blobs/222", join(folder, "snapshot", "m.onnx_data"));
    expect((await siblings(join(folder, "snapshot", "m.onnx"))("m.onnx_data")).size).toBe(7);
  });
});
