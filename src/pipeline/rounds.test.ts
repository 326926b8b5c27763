import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../data/from-tensors.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { builder } from "../graph/builder.ts";
import { type Model, modelFrom } from "../models/model.ts";
import { planOf, type Settings } from "../plans/settings.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { exponential } from "../schedule/sparsity-schedule.ts";
import { float32Tensor, toFloat32 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load } from "../tensor/tensor.ts";
import { prune } from "./prune.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

/** Widths that differ much, so that scores of one shot fall on few layers. */
const widths = [6, 60, 60, 3];

function model(): Model {
  const g = builder("mlp", 17);
  let x = g.input("x", "f32", ["batch", 6]);
  for (const [i, width] of widths.slice(1).entries()) {
    const shape = [widths[i] ?? 1, width];
    const values = new Float32Array((shape[0] ?? 1) * width);
    random(4, "weights", i).fillNormal(values);
    x = g.op("MatMul", [x, g.constant(float32Tensor(shape, values), `w${i}`)]);
    if (i < widths.length - 2) x = g.op("Relu", [x]);
  }
  g.output(x, "f32");
  return modelFrom("mlp", modelOf(g.finish()));
}

const inputs = new Float32Array(32 * 6);
random(5, "inputs").fillNormal(inputs);
const labels = Int32Array.from({ length: 32 }, (_, i) => i % 3);
const calibration = fromTensors(new Map([["x", float32Tensor([32, 6], inputs)]]), labels, "inputs");

async function pruned(settings: Settings, from: Model = model()): Promise<Model> {
  const plan = planOf({ granularity: "weight", scope: "global", ...settings }, 0);
  return (await prune(from, plan, { runtime, calibration, measure: false })).model;
}

async function weightsOf({ onnx }: Model): Promise<ReadonlyMap<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (let i = 0; i < widths.length - 1; i++) {
    const ref = onnx.graph.constants.get(`w${i}`) ?? expect.fail();
    found.set(`w${i}`, toFloat32(await load(ref)));
  }
  return found;
}

const dead = (weights: Float32Array): number => weights.filter((w) => w === 0).length;

async function zeros(of: Model): Promise<number> {
  return [...(await weightsOf(of)).values()].reduce((sum, weights) => sum + dead(weights), 0);
}

const total = widths.slice(1).reduce((sum, width, i) => sum + width * (widths[i] ?? 1), 0);

describe("rounds", () => {
  it("are prunings one after the other, with densities that fall as powers", async () => {
    const sparsity = 0.9;
    for (const criterion of ["snip", "synflow"]) {
      let chain = model();
      for (let round = 1; round <= 3; round++) {
        chain = await pruned({ criterion, sparsity: exponential(round / 3, sparsity) }, chain);
      }
      expect(await weightsOf(await pruned({ criterion, sparsity, rounds: 3 }))).toEqual(await weightsOf(chain));
    }
  });

  it("change nothing where scores do not change", async () => {
    for (const settings of [{ criterion: "l1" }, { criterion: "l1", scope: "tensor", allocation: "lamp" }] as const) {
      const [once, slowly] = [
        await pruned({ ...settings, sparsity: 0.7 }),
        await pruned({ ...settings, sparsity: 0.7, rounds: 4 }),
      ];
      expect(await zeros(slowly)).toBe(await zeros(once));
      if (settings.criterion === "l1" && !("allocation" in settings)) {
        expect(await weightsOf(slowly)).toEqual(await weightsOf(once));
      }
    }
  });

  it("keep what is gone gone, though scores of what is left are negative", async () => {
    for (const settings of [{ criterion: "grasp" }, { criterion: "taylor-signed", scope: "tensor" }] as const) {
      const slowly = await pruned({ ...settings, sparsity: 0.8, rounds: 4 });
      const expected = "scope" in settings ? widths.length - 1 : 1;
      expect(Math.abs((await zeros(slowly)) - 0.8 * total)).toBeLessThanOrEqual(expected);
    }
    // Without that, weights that are negative to keep would go in their place.
    const [first, more] = [{ sparsity: 0.4 }, { sparsity: 0.8 }];
    const twice = await pruned(
      { criterion: "taylor-signed", ...more },
      await pruned({ criterion: "taylor-signed", ...first }),
    );
    expect(await zeros(twice)).toBeGreaterThan(0.8 * total + 1);
  });

  it("let SynFlow keep every layer alive where one shot empties one", async () => {
    const layersLeft = async (rounds: number) => {
      const weights = await weightsOf(await pruned({ criterion: "synflow", sparsity: 0.98, rounds }));
      return [...weights.values()].filter((values) => dead(values) < values.length).length;
    };
    expect(await layersLeft(1)).toBeLessThan(widths.length - 1);
    expect(await layersLeft(40)).toBe(widths.length - 1);
  });

  it("are refused where a share cannot be reached in steps", async () => {
    await expect(pruned({ granularity: "2:4", scope: "tensor", rounds: 2 })).rejects.toThrow(/N of M/);
    expect(() => planOf({ sparsity: 0.5, rounds: 2 }, 0)).toThrow(/recipe/);
    expect(() => planOf({ granularity: "layer", sparsity: 0.5, rounds: 2 }, 0)).toThrow(/--rounds/);
  });
});
