import { gunzipSync, gzipSync } from "fflate";
import { expect, it } from "vitest";
import { modelOf } from "../../formats/onnx/encode.ts";
import { encodeToBytes } from "../../formats/onnx/write.ts";
import { builder } from "../../graph/builder.ts";
import { random } from "../../tensor/random.ts";
import { fileSize } from "./file-size.ts";

/** A model of 12 MB, more than passes in one piece, of which a part is zeros. */
function sample(zeros: number) {
  const weights = new Float32Array(3_000_000);
  random(1, "weights").fillNormal(weights);
  weights.fill(0, 0, zeros);
  const g = builder("sized", 17);
  const shape = [1000, 3000];
  const w = g.constant({ dtype: "f32", shape, bytes: new Uint8Array(weights.buffer) }, "w");
  g.output(g.op("MatMul", [g.input("x", "f32", [1, 1000]), w]), "f32", [1, 3000]);
  return modelOf(g.finish());
}

it("is that of the file, as it is and compressed", async () => {
  const model = sample(1_500_000);
  const bytes = await encodeToBytes(model);
  const size = await fileSize(model);
  expect(size.bytes).toBe(bytes.length);
  // Another implementation of the same format finds slightly other matches.
  const other = gzipSync(bytes, { level: 6 });
  expect(gunzipSync(other).length).toBe(bytes.length);
  expect(size.gzipBytes / other.length).toBeCloseTo(1, 2);
  expect((await fileSize(sample(0))).gzipBytes).toBeGreaterThan(1.8 * size.gzipBytes);
});

it("fails as reading the weights does", async () => {
  const source = { name: "gone", size: 2 ** 30, read: () => Promise.reject(new Error("gone")) };
  const g = builder("lost", 17);
  const w = g.constant({ dtype: "f32", shape: [4096, 4096], at: { source, offset: 0, length: 2 ** 26 } }, "w");
  g.output(g.op("MatMul", [g.input("x", "f32", [1, 4096]), w]), "f32", [1, 4096]);
  await expect(fileSize(modelOf(g.finish()))).rejects.toThrow("gone");
});
