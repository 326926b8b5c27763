import { trainingMode } from "../../src/autodiff/training-mode.ts";
import { losses, optimisers, type Runtime, sized, trainSteps } from "../../src/index.ts";
import { analyse } from "../../src/models/analysis.ts";
import { float32Tensor, fromInts } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { lenet5 } from "../../src/testbeds/models/lenet5.ts";
import { initialise } from "../../src/train/parameters/initialise.ts";
import { openTrainer } from "../../src/train/trainer.ts";

const batch = 8;

/** Losses of a few updates of LeNet-5 on made-up pictures, trained on a device. */
export async function trainOn(runtime: Runtime, updates = 5): Promise<readonly number[]> {
  const empty = lenet5({ picture: [1, 28, 28], channels: [6, 16], pad: 2, widths: [120, 84], classes: 10 });
  const { matrices } = await analyse(empty, runtime);
  const { graph } = initialise(empty, matrices, { seed: 1, scheme: "kaiming-normal" });
  const model = await sized(graph, runtime, new Map([["image", { dtype: "f32", shape: [batch, 1, 28, 28] }]]));
  const parameters = [...graph.constants].filter(([, { dtype }]) => dtype === "f32").map(([name]) => name);
  const [step] = trainSteps({
    model,
    groups: [{ parameters, optimiser: optimisers.sgd({ momentum: 0.9 }) }],
    loss: ({ g, outputs: [logits], of, input }) =>
      losses.crossEntropy(g, logits ?? of("image"), input("labels", "i32", [batch])),
    prepare: trainingMode,
  });
  if (step === undefined) throw new Error("expected a step.");
  const trainer = await openTrainer(runtime, [step]);
  const found: number[] = [];
  for (let i = 0; i < updates; i++) {
    const pixels = new Float32Array(batch * 28 * 28);
    random(7, "pixels", i).fillUniform(pixels);
    const labels = Int32Array.from({ length: batch }, (_, j) => (i + j) % 10);
    const feeds = new Map([
      ["image", float32Tensor([batch, 1, 28, 28], pixels)],
      ["labels", fromInts("i32", [batch], labels)],
    ]);
    found.push((await trainer.run(step, feeds, 0.02)).get("loss") ?? Number.NaN);
  }
  await trainer.release();
  return found;
}
