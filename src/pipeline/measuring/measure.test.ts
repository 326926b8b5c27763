import { afterAll, expect, it } from "vitest";
import { modelOf } from "../../formats/onnx/encode.ts";
import { builder } from "../../graph/builder.ts";
import { modelFrom } from "../../models/model.ts";
import { sparse, structured } from "../../plans/methods.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { random } from "../../tensor/random.ts";
import { prune } from "../prune.ts";

const cpu = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => cpu.close());

function twoLayers() {
  const weights = (seed: string, count: number) => {
    const values = new Float32Array(count);
    random(1, seed).fillNormal(values);
    return [...values];
  };
  const g = builder("two", 17);
  const hidden = g.op("Relu", [g.op("MatMul", [g.input("x", "f32", [4, 8]), g.float32(weights("a", 128), [8, 16])])]);
  g.output(g.op("MatMul", [hidden, g.float32(weights("b", 48), [16, 3])], {}, "y"), "f32", [4, 3]);
  return modelFrom("two.onnx", modelOf(g.finish()));
}

it.each([
  { what: "units", plan: structured({ sparsity: 0.5 }), compilations: 2, params: 88 },
  { what: "weights", plan: sparse({ sparsity: 0.5 }), compilations: 1, params: 176 },
])(
  "the size of a model that lost $what is counted, and its types are learnt anew only where they changed",
  async (c) => {
    let compilations = 0;
    const runtime: Runtime = {
      ...cpu,
      types: (graph, inputs) => {
        compilations++;
        return cpu.types(graph, inputs);
      },
    };
    const { report } = await prune(twoLayers(), c.plan, { runtime, measure: false });
    expect(report.before).toMatchObject({ params: 176, nonzero: 176, macs: 176 });
    expect(report.after).toMatchObject({ params: c.params, nonzero: 88, macs: c.params });
    expect(compilations).toBe(c.compilations);
  },
);
