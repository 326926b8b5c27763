import { afterAll, describe, expect, it } from "vitest";
import { random } from "../src/criteria/weights/random.ts";
import { int, ints } from "../src/graph/attributes.ts";
import { builder } from "../src/graph/builder.ts";
import type { Draft } from "../src/graph/edit.ts";
import { verify } from "../src/graph/passes/verify.ts";
import { type Analysis, analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { cut } from "../src/surgery/cut.ts";
import type { UnitMasks } from "../src/surgery/kept.ts";
import { checkLaw } from "../src/surgery/law.ts";
import { masked } from "../src/surgery/masked.ts";
import { float32Tensor } from "../src/tensor/numeric.ts";
import { random as seeded } from "../src/tensor/random.ts";
import { feedsOf, masksOf } from "./laws.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

type Weights = (name: string, shape: readonly number[]) => string;

function network(body: (g: Draft, weights: Weights) => string, dims: readonly number[], opset = 17) {
  const g = builder("sets", opset);
  g.input("x", "f32", ["batch", ...dims]);
  const weights: Weights = (name, shape) => {
    const values = new Float32Array(shape.reduce((product, n) => product * n, 1));
    seeded(4, name).fillNormal(values);
    return g.constant(
      float32Tensor(
        shape,
        values.map((n) => 0.3 * n),
      ),
      name,
    );
  };
  g.output(body(g, weights), "f32");
  return verify(g.finish());
}

/** Groups that may lose units, as size or as sets × size, by the parameter that names them. */
function setsOf({ coupling }: Analysis): Readonly<Record<string, string>> {
  const free = coupling.groups.filter(({ blocked }) => blocked.length === 0);
  return Object.fromEntries(free.map(({ id, size, sets }) => [id, sets === 1 ? `${size}` : `${sets} x ${size}`]));
}

const conv = (g: Draft, x: string, w: string, group = 1): string => g.op("Conv", [x, w], { group: int(group) });

/** Query heads [b, heads, t, 4] and their projections from [b, t, 10]. */
function heads(g: Draft, weights: Weights, name: string, count: number): string {
  const projected = g.op("MatMul", ["x", weights(name, [10, count * 4])]);
  const open = g.op("Reshape", [projected, g.int64([0, 0, count, 4])]);
  return g.op("Transpose", [open], { perm: ints([0, 2, 1, 3]) });
}

function joined(g: Draft, weights: Weights, value: string, width: number): string {
  const turned = g.op("Transpose", [value], { perm: ints([0, 2, 1, 3]) });
  return g.op("MatMul", [g.op("Reshape", [turned, g.int64([0, 0, width])]), weights("out", [width, 3])]);
}

const cases = {
  "channels inside each group of a convolution": {
    dims: [5, 6, 6],
    sets: { first: "3", "first#2": "3 x 4", grouped: "3 x 2" },
    body: (g: Draft, w: Weights) => {
      const a = g.op("Relu", [conv(g, "x", w("first", [12, 5, 1, 1]))]);
      return conv(g, g.op("Sigmoid", [conv(g, a, w("grouped", [6, 4, 3, 3]), 3)]), w("last", [7, 6, 1, 1]));
    },
  },
  "channels inside each group of a transposed convolution": {
    dims: [5, 6, 6],
    sets: { first: "3", "first#2": "3 x 4", grouped: "3 x 2" },
    body: (g: Draft, w: Weights) => {
      const a = g.op("Relu", [conv(g, "x", w("first", [12, 5, 1, 1]))]);
      const b = g.op("ConvTranspose", [a, w("grouped", [12, 2, 3, 3])], { group: int(3) });
      return conv(g, b, w("last", [7, 6, 1, 1]));
    },
  },
  "channels inside each group of a norm": {
    dims: [5, 6, 6],
    opset: 21,
    sets: { first: "3", "first#2": "3 x 4" },
    body: (g: Draft, w: Weights) => {
      const a = conv(g, "x", w("first", [12, 5, 1, 1]));
      const b = g.op("GroupNormalization", [a, w("gain", [12]), w("shift", [12])], { num_groups: int(3) });
      return conv(g, b, w("last", [7, 12, 1, 1]));
    },
  },
  "query heads of each key head, and dimensions inside each key head": {
    dims: [5, 10],
    opset: 23,
    sets: { "query#2": "2", "query#3": "2 x 3", value: "2 x 4" },
    body: (g: Draft, w: Weights) => {
      const qkv = [heads(g, w, "query", 6), heads(g, w, "key", 2), heads(g, w, "value", 2)];
      return joined(g, w, g.op("Attention", qkv), 24);
    },
  },
  "hidden units of each direction": {
    dims: [5, 10],
    sets: { "input#3": "2 x 6" },
    body: (g: Draft, w: Weights) => {
      const x = g.op("Transpose", ["x"], { perm: ints([1, 0, 2]) });
      const operands = [x, w("input", [2, 24, 10]), w("state", [2, 24, 6]), w("bias", [2, 48])];
      const attributes = { hidden_size: int(6), direction: { kind: "string" as const, value: "bidirectional" } };
      const [y] = g.op("LSTM", operands, attributes, [g.fresh("y")]);
      const open = g.op("Transpose", [y ?? ""], { perm: ints([2, 0, 1, 3]) });
      return g.op("MatMul", [g.op("Reshape", [open, g.int64([0, 0, 12])]), w("out", [12, 3])]);
    },
  },
  "neurons of each expert": {
    dims: [5, 10],
    sets: { up: "3", "up#3": "3 x 8" },
    body: (g: Draft, w: Weights) => {
      const each = g.op("MatMul", [g.op("Unsqueeze", ["x", g.int64([1])]), w("up", [3, 10, 8])]);
      const down = g.op("MatMul", [g.op("Relu", [each]), w("down", [3, 8, 4])]);
      return g.op("ReduceSum", [down, g.int64([1])]);
    },
  },
  "nothing where a softmax runs over the heads": {
    dims: [5, 10],
    sets: { "query#3": "4" },
    body: (g: Draft, w: Weights) => joined(g, w, g.op("Softmax", [heads(g, w, "query", 3)], { axis: int(1) }), 12),
  },
  "nothing where heads are normalised together": {
    dims: [5, 10],
    sets: { "query#2": "3", "query#3": "4" },
    body: (g: Draft, w: Weights) => {
      const last = g.op("Transpose", [heads(g, w, "query", 3)], { perm: ints([0, 2, 3, 1]) });
      const normal = g.op("LayerNormalization", [last, w("gain", [3])]);
      return joined(g, w, g.op("Transpose", [normal], { perm: ints([0, 3, 1, 2]) }), 12);
    },
  },
  "no dimensions that all heads scale alike": {
    dims: [5, 10],
    sets: { "key#2": "3", "key#3": "3 x 4", value: "4" },
    body: (g: Draft, w: Weights) => {
      const keys = g.op("Transpose", [heads(g, w, "key", 3)], { perm: ints([0, 1, 3, 2]) });
      const scores = g.op("Softmax", [g.op("MatMul", [heads(g, w, "query", 3), keys])], { axis: int(-1) });
      const scaled = g.op("Mul", [heads(g, w, "value", 3), w("gain", [4])]);
      return joined(g, w, g.op("MatMul", [scores, scaled]), 12);
    },
  },
  "nothing where each head meets all others": {
    dims: [5, 10],
    sets: { "query#2": "3", "query#3": "4" },
    body: (g: Draft, w: Weights) => {
      const each = g.op("Transpose", [heads(g, w, "query", 3)], { perm: ints([0, 2, 1, 3]) });
      const other = g.op("Transpose", [each], { perm: ints([0, 1, 3, 2]) });
      const met = g.op("MatMul", [g.op("MatMul", [each, other]), each]);
      return g.op("MatMul", [g.op("Reshape", [met, g.int64([0, 0, 12])]), w("out", [12, 3])]);
    },
  },
};

/** Another unit goes in each set, and two of them where there are enough. */
function turning({ coupling }: Analysis): UnitMasks {
  const groups = coupling.groups.filter(({ blocked, sets }) => blocked.length === 0 && sets > 1);
  return new Map(
    groups.map((group) => {
      const mask = new Uint8Array(group.size * group.sets).fill(1);
      for (let set = 0; set < group.sets; set++) {
        mask[set * group.size + (set % group.size)] = 0;
        if (group.size > 3) mask[set * group.size + ((2 * set + 1) % group.size)] = 0;
      }
      return [group, mask];
    }),
  );
}

async function relative(analysis: Analysis, cutBy: UnitMasks, maskedBy = cutBy): Promise<number> {
  const small = verify(await cut(analysis.graph, analysis.coupling, analysis.facts, cutBy));
  const reference = masked(analysis.graph, analysis.coupling, analysis.facts, maskedBy);
  return (await checkLaw(runtime, reference, small, [await feedsOf(analysis)])).relative;
}

describe("units are chosen apart, as many in each set", () => {
  for (const [name, { dims, body, sets, ...rest }] of Object.entries(cases)) {
    it(name, async () => {
      const analysis = await analyse(network(body, dims, "opset" in rest ? rest.opset : 17), runtime);
      expect(setsOf(analysis)).toEqual(sets);
      expect(await relative(analysis, await masksOf(analysis, random(1), 0.4))).toBeLessThan(1e-4);
      const apart = turning(analysis);
      expect(apart.size > 0).toBe(Object.values(sets).some((text) => text.includes("x")));
      if (apart.size === 0) return;
      expect(await relative(analysis, apart)).toBeLessThan(1e-4);
      // The planted fault: every set takes the units of the first.
      const same = new Map([...apart].map(([group, mask]) => [group, mask.map((_, i) => mask[i % group.size] ?? 0)]));
      expect(await relative(analysis, apart, same)).toBeGreaterThan(1e-3);
    });
  }
});
