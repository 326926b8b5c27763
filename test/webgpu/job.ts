import { randomInputs } from "../../src/data/random-inputs.ts";
import { modelOf } from "../../src/formats/onnx/encode.ts";
import { ints } from "../../src/graph/attributes.ts";
import { builder } from "../../src/graph/builder.ts";
import type { Graph } from "../../src/graph/graph.ts";
import { criterionNamed, methods, prune, type Runtime } from "../../src/index.ts";
import { modelFrom } from "../../src/models/model.ts";
import { float32Tensor, toFloat32 } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";

/** What one run gives, as JSON. */
interface Outcome {
  readonly criterion: string;
  /** By group, a 0 or 1 for each unit. */
  readonly masks: Readonly<Record<string, string>>;
  readonly nearTies: number;
  readonly agreement: { readonly device: string; readonly reference: string; readonly relative: number } | null;
  /** Outputs of the original and of the pruned model on all images. */
  readonly original: readonly number[];
  readonly pruned: readonly number[];
}

/** A criterion that looks at activations; those that look at weights alone do not ask the device. */
export const criteriaCompared = ["activation"] as const;

const images = 32;

/** A residual network of 1.2 M multiply-accumulates whose second convolution has six input channels. */
export function sixChannels(): Graph {
  const stream = random(5, "weights");
  const g = builder("six", 17);
  const weight = (name: string, ...shape: number[]): string => {
    const values = new Float64Array(shape.reduce((product, n) => product * n, 1));
    stream.fillNormal(values);
    const scale = Math.sqrt(2 / shape.slice(1).reduce((product, n) => product * n, 1));
    return g.constant(
      float32Tensor(
        shape,
        Float32Array.from(values, (value) => value * scale),
      ),
      name,
    );
  };
  const conv = (name: string, from: string, inputs: number, outputs: number): string =>
    g.op("Conv", [from, weight(`${name}.weight`, outputs, inputs, 3, 3)], { pads: ints([1, 1, 1, 1]) }, name);
  g.input("image", "f32", ["n", 3, 16, 16]);
  const stem = g.op("Relu", [conv("stem", "image", 3, 6)], {}, "a");
  const wide = g.op("Relu", [conv("wide", stem, 6, 24)], {}, "b");
  const inner = g.op("Relu", [conv("inner", wide, 24, 12)], {}, "c");
  const back = g.op("Relu", [g.op("Add", [wide, conv("back", inner, 12, 24)], {}, "sum")], {}, "d");
  const pooled = g.op("Flatten", [g.op("GlobalAveragePool", [back], {}, "pool")], {}, "flat");
  g.output(g.op("MatMul", [pooled, weight("head", 24, 10)], {}, "logits"), "f32", ["n", 10]);
  return g.finish();
}

/** Prunes the network on a device and runs both on all images there. */
export async function pruneOn(runtime: Runtime): Promise<readonly Outcome[]> {
  const graph = sixChannels();
  const data = randomInputs(graph.inputs, { count: images, seed: 3 });
  const outcomes: Outcome[] = [];
  for (const criterion of criteriaCompared) {
    const plan = methods.structured({ keepMacs: 0.6, criterion: criterionNamed(criterion) });
    const options = { runtime, calibration: data, measure: false, batchSize: 8 };
    const { model, masks, report } = await prune(modelFrom("six", modelOf(graph)), plan, options);
    outcomes.push({
      criterion,
      masks: Object.fromEntries([...masks].map(([group, mask]) => [group, mask.join("")])),
      nearTies: report.nearTies,
      agreement: report.agreement,
      original: await outputsOf(runtime, graph),
      pruned: await outputsOf(runtime, model.onnx.graph),
    });
  }
  return outcomes;

  async function outputsOf(on: Runtime, which: Graph): Promise<readonly number[]> {
    const session = await on.compile(which);
    const values: number[] = [];
    for await (const batch of data.batches(8)) {
      for (const output of (await session.run(batch.inputs)).values()) values.push(...toFloat32(output));
    }
    await session.release();
    return values;
  }
}
