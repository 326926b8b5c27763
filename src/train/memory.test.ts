import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { sized } from "../autodiff/sized.ts";
import { builder } from "../graph/builder.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor, fromInts } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { crossEntropy } from "./objectives/losses.ts";
import { adam } from "./optimisers/adam.ts";
import { trainSteps } from "./step.ts";
import { openTrainer } from "./trainer.ts";

const WARM = 500;
const STEPS = 1000;
const [batch, inputs, width, classes] = [16, 32, 64, 10];

/** Bytes of a planted leak at each step: what a few forgotten activations would be. */
const LEAK = 8 * batch * width * 4;

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

/** Bytes that the process grows by per step once it has warmed up: the median of slopes between pairs of samples (Theil and Sen). */
async function growth(leak: number): Promise<number> {
  const runtime = await openRuntime({ threads: 1, worker: false });
  const weights = (label: string, shape: readonly number[]) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    random(1, label).fillNormal(values, 0, 0.1);
    return float32Tensor(shape, values);
  };
  const g = builder("net");
  g.input("x", "f32", ["n", inputs]);
  const hidden = g.op("Relu", [g.op("MatMul", ["x", g.constant(weights("a", [inputs, width]), "a")])]);
  g.output(g.op("MatMul", [hidden, g.constant(weights("b", [width, classes]), "b")], {}, "y"), "f32", ["n", classes]);
  const model = await sized(g.finish(), runtime, new Map([["x", { dtype: "f32", shape: [batch, inputs] }]]));
  const [step = expect.fail()] = trainSteps({
    model,
    groups: [{ parameters: ["a", "b"], optimiser: adam() }],
    loss: (c) => crossEntropy(c.g, c.outputs[0] ?? expect.fail(), c.input("labels", "i32", [batch])),
  });
  const trainer = await openTrainer(runtime, [step]);
  const labels = fromInts("i32", [batch], new Int32Array(batch));
  const kept: Uint8Array[] = [];
  const samples: number[] = [];
  const every = 50;
  for (let i = 0; i < WARM + STEPS; i++) {
    await trainer.run(
      step,
      new Map([
        ["x", weights(`x${i}`, [batch, inputs])],
        ["labels", labels],
      ]),
      0.001,
    );
    if (leak > 0) kept.push(new Uint8Array(leak).fill(i));
    if (i >= WARM && i % every === every - 1) {
      collect();
      samples.push(process.memoryUsage.rss());
    }
  }
  await trainer.release();
  await runtime.close();
  const slopes = samples.flatMap((a, i) => samples.slice(i + 1).map((b, j) => (b - a) / (every * (j + 1))));
  slopes.sort((a, b) => a - b);
  return slopes[slopes.length >> 1] ?? Number.NaN;
}

it("a thousand steps do not make the process larger, and a leak of a few activations would show", async () => {
  expect(await growth(0)).toBeLessThan(LEAK / 4);
  expect(await growth(LEAK)).toBeGreaterThan(LEAK / 2);
});
