/**
 * Makes glyphs.onnx, calibration.npy and test.npz beside this file: the testbed "glyphs-resnet8", which is trained here
 * where it is not in the cache, and pictures that it was not trained on.
 *
 * Usage: npx tsx examples/glyphs/make.ts
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { zipSync } from "fflate";
import { writeNpy } from "../../src/data/files/npy.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { fromInts } from "../../src/tensor/numeric.ts";
import { classify } from "../../src/testbeds/bench/classify.ts";
import { openTestbed } from "../../src/testbeds/open.node.ts";
import { type Scenes, scenes } from "../../src/testbeds/scenes/scenes.ts";
import { glyphs } from "../../src/testbeds/scenes/settings.ts";

const here = import.meta.dirname;
const write = (name: string, bytes: Uint8Array): void => writeFileSync(join(here, name), bytes);

async function picturesOf(dataset: Scenes): Promise<Uint8Array> {
  const { inputs } = await dataset.gather(Int32Array.from({ length: dataset.count }, (_, i) => i));
  const [images] = inputs.values();
  if (images === undefined) throw new Error("no images");
  return writeNpy(images);
}

write("calibration.npy", await picturesOf(scenes(glyphs, { split: "calibration", count: 256 })));
const test = scenes(glyphs, { split: "test", count: 2000 });
const labels = writeNpy(fromInts("i32", [test.count], test.labels));
// A fixed date keeps the file the same each time it is made.
write(
  "test.npz",
  zipSync({ "images.npy": await picturesOf(test), "labels.npy": labels }, { level: 9, mtime: "2000-01-01" }),
);

const runtime = await openRuntime();
const started = performance.now();
const testbed = await openTestbed("glyphs-resnet8", {
  runtime,
  samples: 20_000,
  progress: ({ done, total, detail }) => {
    if (done % 50 === 0) console.log(`${done} of ${total}, ${detail ?? ""}`);
  },
});
if ("absent" in testbed) throw new Error(testbed.absent);
console.log(`${((performance.now() - started) / 1000).toFixed(0)} s`);
write("glyphs.onnx", await testbed.model.encode());
const { accuracy, samples } = await classify(runtime, testbed.model.onnx.graph, testbed.test);
console.log(`${accuracy.toFixed(2)} % of ${samples} test pictures`);
await runtime.close();
