import { expect, it } from "vitest";
import { couple } from "../coupling/couple.ts";
import { matrices } from "../coupling/matrices.ts";
import { int } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { random as seeded } from "../tensor/random.ts";
import { inputNorm } from "./inputs/input-norm.ts";
import { obs } from "./inputs/obs.ts";
import { unitScores } from "./unit-scores.ts";
import { magnitude } from "./weights/magnitude.ts";

const groups = 3;
const inside = 4;
const out = 2;

function normal(length: number, label: string): Float32Array {
  const values = new Float32Array(length);
  seeded(5, label).fillNormal(values);
  return values;
}

const weights = normal(groups * out * inside, "grouped");

/** A pointwise convolution into a grouped one: [3 · 4] channels, 3 groups. */
function context() {
  const g = builder("grouped", 17);
  g.input("x", "f32", [2, 5, 6, 6]);
  const first = g.constant(float32Tensor([groups * inside, 5, 1, 1], normal(groups * inside * 5, "first")), "first");
  const second = g.constant(float32Tensor([groups * out, inside, 1, 1], weights), "grouped");
  g.op("Conv", ["x", first], {}, "a");
  g.op("Conv", ["a", second], { group: int(groups) }, "b");
  g.output("b", "f32");
  const graph = g.finish();
  const types = new Map(
    [...graph.constants].map(([name, { dtype, shape }]): [string, { dtype: typeof dtype; shape: typeof shape }] => [
      name,
      { dtype, shape },
    ]),
  );
  types.set("x", { dtype: "f32", shape: [2, 5, 6, 6] });
  types.set("a", { dtype: "f32", shape: [2, groups * inside, 6, 6] });
  types.set("b", { dtype: "f32", shape: [2, groups * out, 6, 6] });
  const facts = { types, values: new Map(), sizes: new Set<string>(), otherShapes: new Map() };
  const coupling = couple(graph, facts);
  const group = coupling.groups.find(({ size, sets }) => size === inside && sets === groups);
  const byParameter = new Map(matrices(graph, coupling, facts).map((matrix) => [matrix.parameter, matrix]));
  if (group === undefined) throw new Error("no group of channels inside the groups");
  return { graph, group, byParameter };
}

const plain = { members: "input", reduce: "sum", normalise: "none" } as const;

it("scores a channel inside each group by the weights that read it there", async () => {
  const { graph, group, byParameter } = context();
  const scores = (await unitScores(graph, [group], byParameter, magnitude(2), () => ({}), plain)).get(group);
  expect(scores?.length).toBe(groups * inside);
  for (let s = 0; s < groups; s++) {
    for (let u = 0; u < inside; u++) {
      let sum = 0;
      for (let o = 0; o < out; o++) sum += (weights[(s * out + o) * inside + u] ?? 0) ** 2;
      expect(scores?.[s * inside + u]).toBeCloseTo(sum, 10);
    }
  }
});

it("reads the statistics of its own group", async () => {
  const { graph, group, byParameter } = context();
  const inputMeanSquare = Float64Array.from({ length: groups * inside }, (_, i) => (i + 1) ** 2);
  const read = () => ({ inputMeanSquare });
  const scores = (await unitScores(graph, [group], byParameter, inputNorm(), read, plain)).get(group);
  expect([...(scores ?? [])]).toEqual(Array.from({ length: groups * inside }, (_, i) => i + 1));
});

it("reads the Gram matrix of its own group", async () => {
  const { graph, group, byParameter } = context();
  const gram = Array.from({ length: groups }, (_, s) =>
    Float64Array.from({ length: inside * inside }, (_, i) => (i % (inside + 1) === 0 ? 10 ** s : 0)),
  );
  const scores = (await unitScores(graph, [group], byParameter, obs(0), () => ({ gram }), plain)).get(group);
  const bare = (await unitScores(graph, [group], byParameter, magnitude(2), () => ({}), plain)).get(group);
  for (const [i, score] of (scores ?? []).entries()) {
    expect(score / ((bare?.[i] ?? 0) * 10 ** Math.floor(i / inside))).toBeCloseTo(0.5, 6);
  }
});

/** Channels of a convolution, each read at several places of the matrix behind a Flatten: [4 channels · 3 · 3, 2]. */
function flattened() {
  const g = builder("flattened", 17);
  g.input("x", "f32", [2, 5, 3, 3]);
  g.op("Conv", ["x", g.constant(float32Tensor([4, 5, 1, 1], normal(20, "conv")), "conv")], {}, "a");
  g.op("Flatten", ["a"], {}, "flat");
  g.op("MatMul", ["flat", g.constant(float32Tensor([36, 2], normal(72, "behind")), "behind")], {}, "y");
  g.output("y", "f32");
  const graph = g.finish();
  const types = new Map([...graph.constants].map(([name, { dtype, shape }]) => [name, { dtype, shape }] as const));
  types.set("x", { dtype: "f32", shape: [2, 5, 3, 3] });
  types.set("a", { dtype: "f32", shape: [2, 4, 3, 3] });
  types.set("flat", { dtype: "f32", shape: [2, 36] });
  types.set("y", { dtype: "f32", shape: [2, 2] });
  const facts = { types, values: new Map(), sizes: new Set<string>(), otherShapes: new Map() };
  const coupling = couple(graph, facts);
  const group = coupling.groups.find(({ size }) => size === 4) ?? expect.fail("no group of channels");
  return { graph, group, byParameter: new Map(matrices(graph, coupling, facts).map((m) => [m.parameter, m])) };
}

it("standardises position by position, and a unit is the mean of its own", async () => {
  const { graph, group, byParameter } = flattened();
  const behind = normal(72, "behind");
  const positions = Array.from({ length: 36 }, (_, j) => (behind[2 * j] ?? 0) ** 2 + (behind[2 * j + 1] ?? 0) ** 2);
  const mean = positions.reduce((sum, v) => sum + v, 0) / 36;
  const sd = Math.sqrt(positions.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 36);
  for (const reduce of ["sum", "mean", "max"] as const) {
    const options = { members: "input", reduce, normalise: "standardise" } as const;
    const found = (await unitScores(graph, [group], byParameter, magnitude(2), () => ({}), options)).get(group);
    expect(found?.length).toBe(4);
    for (const [unit, score] of (found ?? []).entries()) {
      const own = positions.slice(9 * unit, 9 * unit + 9).map((v) => (v - mean) / sd);
      expect(score).toBeCloseTo(own.reduce((sum, v) => sum + v, 0) / 9, 6);
    }
    // Standardised unit by unit they would spread as far as units of one position do.
    expect(Math.max(...(found ?? []).map(Math.abs))).toBeLessThan(0.9);
  }
});
