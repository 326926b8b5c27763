import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { modelOf } from "../src/formats/onnx/encode.ts";
import { openOnnx } from "../src/formats/onnx/external.node.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import { stageOnnx } from "../src/formats/onnx/stage.node.ts";
import { builder } from "../src/graph/builder.ts";
import { load, methods, openRuntime, prune } from "../src/index.node.ts";
import { float32Tensor } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "espalier-stage-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function model(seed: number) {
  const weights = new Float32Array(64 * 2048);
  random(seed).fillNormal(weights);
  const g = builder("two", 17);
  const h = g.op("Relu", [
    g.op("MatMul", [g.input("x", "f32", [4, 64]), g.constant(float32Tensor([64, 2048], weights))]),
  ]);
  g.output(g.op("MatMul", [h, g.constant(float32Tensor([2048, 3], weights.slice(0, 6144)))], {}, "y"), "f32");
  return modelOf(g.finish());
}

it("nothing is seen before the commit, and nothing else is left after it", async () => {
  const path = join(folder, "m.onnx");
  const staged = await stageOnnx(model(1), path);
  expect(readdirSync(folder).filter((name) => !name.startsWith("."))).toEqual([]);
  expect(staged.onnx.graph.nodes).toHaveLength(3);
  await staged.commit();
  expect(readdirSync(folder)).toEqual(["m.onnx"]);
  const before = readFileSync(path);
  await (await stageOnnx(model(2), path)).discard();
  expect(readdirSync(folder)).toEqual(["m.onnx"]);
  expect(readFileSync(path).equals(before)).toBe(true);
  await (await stageOnnx(model(2), path)).commit();
  expect(readFileSync(path).equals(before)).toBe(false);
});

it("the file that weights are still read from is never the target", async () => {
  const path = join(folder, "m.onnx");
  await saveOnnx(model(1), path, { externalData: true });
  await expect(stageOnnx(await openOnnx(path), path)).rejects.toThrow(/other than the input/);
  expect(readdirSync(folder)).toEqual(["m.onnx", "m.onnx_data"]);
});

it("a pruned model appears when it was measured, and not at all when that fails", async () => {
  const path = join(folder, "m.onnx");
  const out = join(folder, "small.onnx");
  await saveOnnx(model(1), path);
  const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
  try {
    const plan = methods.structured({ sparsity: 0.5 });
    const seen: string[][] = [];
    const measure: typeof runtime.measure = (sessions, options) => {
      seen.push(readdirSync(folder).filter((name) => !name.startsWith(".")));
      return runtime.measure(sessions, options);
    };
    const broken = { ...runtime, measure: () => Promise.reject(new Error("no clock")) };
    await expect(prune(await load(path), plan, { runtime: broken, out })).rejects.toThrow("no clock");
    expect(readdirSync(folder)).toEqual(["m.onnx"]);
    const { model: small, report } = await prune(await load(path), plan, { runtime: { ...runtime, measure }, out });
    expect(seen.at(-1)).toEqual(["m.onnx"]);
    expect(readdirSync(folder)).toEqual(["m.onnx", "small.onnx"]);
    expect(report.after.params).toBe(1024 * 67);
    expect(await small.encode()).toEqual(new Uint8Array(readFileSync(out)));
  } finally {
    await runtime.close();
  }
});
