import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { branchesOf } from "../../coupling/branches.ts";
import { spansOfGroups } from "../../coupling/within.ts";
import { modelOf } from "../../formats/onnx/encode.ts";
import { builder } from "../../graph/builder.ts";
import { analyse } from "../../models/analysis.ts";
import { type Model, modelFrom } from "../../models/model.ts";
import { cfsp } from "../../papers/cfsp.ts";
import { structured } from "../../plans/methods.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { spansOf } from "../../search/choose-branches.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type Shape, sizeOf } from "../../tensor/tensor.ts";
import { chainInputs } from "../../testbeds/tiny-net.ts";
import { prune } from "../prune.ts";

let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1 });
});
afterAll(() => runtime.close());

/** Four blocks of two branches of 40 neurons; of blocks 1 and 2 next to nothing is added. */
function planted(): Model {
  const g = builder("planted", 17);
  const draw = random(0, "planted");
  const normal = (name: string, shape: Shape, sd: number): string => {
    const values = new Float32Array(sizeOf(shape));
    draw.split(name).fillNormal(values, 0, sd);
    return g.constant(float32Tensor(shape, values), name);
  };
  let x = g.input("x", "f32", ["n", 8]);
  for (let block = 0; block < 4; block++) {
    for (const part of ["a", "b"]) {
      const name = `${block}${part}`;
      const inner = g.op("Relu", [g.op("MatMul", [x, normal(`${name}.in`, [8, 40], 0.3)])]);
      const out = normal(`${name}.out`, [40, 8], block === 1 || block === 2 ? 0.001 : 0.2);
      x = g.op("Add", [x, g.op("MatMul", [inner, out])]);
    }
  }
  g.output(g.op("MatMul", [x, normal("head", [8, 8], 0.5)], {}, "y"), "f32", ["n", 8]);
  return modelFrom("planted", modelOf(g.finish()));
}

it("groups are found in their blocks", async () => {
  const { graph, coupling, facts } = await analyse(planted().onnx.graph, runtime);
  const inner = coupling.groups.filter(({ size, blocked }) => size === 40 && blocked.length === 0);
  const found = spansOfGroups(graph, inner, spansOf(branchesOf(graph, coupling, facts), 2));
  expect([...found].map(([{ id }, at]) => `${id[0]} ${at}`)).toEqual(
    [0, 0, 1, 1, 2, 2, 3, 3].map((block) => `${block} ${block}`),
  );
});

describe.each(["activation", "relative"])("neurons by %s", (score) => {
  const widths = async (coarse: string, sparsity: number) => {
    const plan = cfsp.plan({ sparsity, coarse, score });
    const { report } = await prune(planted(), plan, { runtime, calibration: chainInputs(64), measure: false });
    return report.layers.map(({ after }) => after);
  };

  it("go from blocks that turn little, as many of all together", async () => {
    const kept = await widths("influence", 0.5);
    expect(Math.abs(kept.reduce((sum, n) => sum + n, 0) - 160)).toBeLessThanOrEqual(4);
    const [first, second, third, last] = [0, 1, 2, 3].map((block) => kept[2 * block] ?? 0);
    for (const [block, n] of [first, second, third, last].entries()) expect(kept[2 * block + 1]).toBe(n);
    expect(Math.max(second ?? 0, third ?? 0)).toBeLessThan(Math.min(first ?? 0, last ?? 0) - 5);
  });

  it("go alike where blocks do not count", async () => {
    expect(await widths("uniform", 0.5)).toEqual(Array.from({ length: 8 }, () => 20));
  });
});

it("needs data", async () => {
  const plan = { ...structured({ sparsity: 0.5 }), coarse: { distance: "angle", strength: 1 } } as const;
  await expect(prune(planted(), plan, { runtime, measure: false })).rejects.toThrow("importance of blocks");
});
