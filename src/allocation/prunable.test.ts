import { expect, it } from "vitest";
import type { Matrix } from "../coupling/matrices.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { prunable } from "./prunable.ts";

/** x → a → {b → c, d} → two outputs; `d` reuses the weight of `c`. */
function branched(): { graph: Graph; matrices: readonly Matrix[] } {
  const draft = builder("g");
  const x = draft.input("x", "f32", [2, 3]);
  const weight = (name: string) => draft.constant(float32Tensor([3, 3], new Float32Array(9)), name);
  const shared = weight("wc");
  const a = draft.op("MatMul", [x, weight("wa")], {}, "a");
  const relu = draft.op("Relu", [a], {}, "r");
  const b = draft.op("MatMul", [relu, weight("wb")], {}, "b");
  draft.output(draft.op("MatMul", [b, shared], {}, "c"), "f32", [2, 3]);
  draft.output(draft.op("MatMul", [relu, shared], {}, "d"), "f32", [2, 3]);
  const graph = draft.finish();
  const matrices = graph.nodes
    .filter(({ inputs }) => inputs.length === 2)
    .map((node) => ({
      ...{ node, parameter: node.inputs[1] ?? "", shape: [3, 3], outputs: [1], inputs: [0], rows: 3, columns: 3 },
      groups: 1,
      data: null,
    }));
  return { graph, matrices };
}

it("presets leave out what is nearest to inputs and outputs", () => {
  const { graph, matrices } = branched();
  const names = (...rest: Parameters<typeof prunable> extends [unknown, unknown, ...infer R] ? R : never) =>
    prunable(graph, matrices, ...rest).map(({ parameter }) => parameter);
  expect(names("all")).toEqual(["wa", "wb", "wc"]);
  expect(names("no-stem")).toEqual(["wb", "wc"]);
  expect(names("no-head")).toEqual(["wa", "wb"]);
  expect(names("inner")).toEqual(["wb"]);
  expect(names("all", (name) => name === "wb")).toEqual(["wa", "wc"]);
});
