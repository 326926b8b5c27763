import { expect, it } from "vitest";
import { builder } from "../graph/builder.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { type CouplingFacts, couple } from "./couple.ts";
import { matrices } from "./matrices.ts";
import { vectorRoles } from "./roles.ts";

const constant = (shape: readonly number[]) => float32Tensor(shape, new Float32Array(sizeOf(shape)));

it("vectors are known by what their norm does with them", () => {
  const draft = builder("g");
  const x = draft.input("x", "f32", [2, 3, 4]);
  const vector = (name: string, size = 3) => draft.constant(constant([size]), name);
  const shared = vector("shared", 4);
  const batch = [x, ...["gamma", "beta", "mean", "variance"].map((name) => vector(name))];
  const a = draft.op("BatchNormalization", batch, {}, "a");
  const b = draft.op("LayerNormalization", [a, vector("scale", 4)], {}, "b");
  const c = draft.op("Add", [b, shared], {}, "c");
  draft.output(draft.op("LayerNormalization", [c, vector("last", 4), shared], {}, "d"), "f32", [2, 3, 4]);
  expect(Object.fromEntries(vectorRoles(draft.finish()))).toEqual({
    gamma: "scale",
    beta: "shift",
    mean: "statistics",
    variance: "statistics",
    scale: "scale",
    last: "scale",
    shared: "shift",
  });
});

it("a matrix is found behind what only moves or converts it, with its axes", () => {
  const draft = builder("g");
  const x = draft.input("x", "f32", [2, 5]);
  const stored = draft.constant(constant([3, 5]), "stored");
  const cast = draft.op("Cast", [stored], { to: { kind: "int", value: 1 } }, "cast");
  const turned = draft.op("Transpose", [cast], {}, "turned");
  const y = draft.op("MatMul", [x, turned], {}, "y");
  // Not a weight any more: its elements are changed one by one.
  const changed = draft.op("Relu", [draft.constant(constant([3, 4]), "hidden")], {}, "changed");
  draft.output(draft.op("MatMul", [y, changed], {}, "z"), "f32", [2, 4]);
  const graph = draft.finish();
  const shapes = { x: [2, 5], stored: [3, 5], cast: [3, 5], turned: [5, 3], y: [2, 3], z: [2, 4] };
  const more = { hidden: [3, 4], changed: [3, 4] };
  const types = new Map(
    Object.entries({ ...shapes, ...more }).map(([k, shape]) => [k, { dtype: "f32" as const, shape }]),
  );
  const facts: CouplingFacts = { types, values: new Map(), sizes: new Set(), otherShapes: new Map() };
  const found = matrices(graph, couple(graph, facts), facts);
  expect(found.map(({ parameter, outputs, inputs }) => ({ parameter, outputs, inputs }))).toEqual([
    { parameter: "stored", outputs: [0], inputs: [1] },
  ]);
});
