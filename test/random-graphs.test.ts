import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { random } from "../src/criteria/weights/random.ts";
import { int, ints } from "../src/graph/attributes.ts";
import { builder } from "../src/graph/builder.ts";
import type { Draft } from "../src/graph/edit.ts";
import type { Graph } from "../src/graph/graph.ts";
import { verify } from "../src/graph/passes/verify.ts";
import { analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { cut } from "../src/surgery/cut.ts";
import { checkLaw } from "../src/surgery/law.ts";
import { masked } from "../src/surgery/masked.ts";
import { float32Tensor } from "../src/tensor/numeric.ts";
import { random as seeded } from "../src/tensor/random.ts";
import { feedsOf, masksOf } from "./laws.ts";

const SIDE = 4;

interface Value {
  readonly name: string;
  readonly channels: number;
}

/** One step of a random network: which values it takes and how it combines them. */
type Make = (g: Draft, values: readonly Value[], weights: (shape: number[]) => string) => Value;

const at = (values: readonly Value[], pick: number): Value =>
  values[pick % values.length] ?? { name: "x", channels: 3 };

function conv(pick: number, channels: number, groups: number): Make {
  return (g, values, weights) => {
    const from = at(values, pick);
    const group = from.channels % groups === 0 ? groups : 1;
    const out = channels * group;
    const w = weights([out, from.channels / group, 3, 3]);
    const name = g.op("Conv", [from.name, w, weights([out])], { pads: ints([1, 1, 1, 1]), group: int(group) });
    return { name, channels: out };
  };
}

function unary(pick: number, op: string): Make {
  return (g, values) => ({ ...at(values, pick), name: g.op(op, [at(values, pick).name]) });
}

/** A sum of the picked value and a convolution of another, so that both share their channels. */
function residual(pick: number, other: number): Make {
  return (g, values, weights) => {
    const [a, b] = [at(values, pick), at(values, other)];
    const branch = g.op("Conv", [b.name, weights([a.channels, b.channels, 1, 1])]);
    return { name: g.op("Add", [a.name, branch]), channels: a.channels };
  };
}

function join(pick: number, other: number): Make {
  return (g, values) => {
    const [a, b] = [at(values, pick), at(values, other)];
    return { name: g.op("Concat", [a.name, b.name], { axis: int(1) }), channels: a.channels + b.channels };
  };
}

function halve(pick: number, share: number): Make {
  return (g, values) => {
    const from = at(values, pick);
    const first = 1 + (share % Math.max(1, from.channels - 1));
    if (first >= from.channels) return from;
    const sizes = g.int64([first, from.channels - first]);
    const parts = [g.fresh("part"), g.fresh("part")] as const;
    g.op("Split", [from.name, sizes], { axis: int(1) }, parts);
    const names = [parts[1], parts[0]];
    return { name: g.op("Concat", names, { axis: int(1) }), channels: from.channels };
  };
}

/** Channels in `groups` rows, rows and columns swapped, and back: a channel shuffle. */
function shuffle(pick: number, groups: number): Make {
  return (g, values) => {
    const from = at(values, pick);
    if (from.channels % groups !== 0) return from;
    const open = g.op("Reshape", [from.name, g.int64([-1, groups, from.channels / groups, SIDE, SIDE])]);
    const turned = g.op("Transpose", [open], { perm: ints([0, 2, 1, 3, 4]) });
    return { ...from, name: g.op("Reshape", [turned, g.int64([-1, from.channels, SIDE, SIDE])]) };
  };
}

/** Normalises over channels: removal restricts the statistics. */
function norm(pick: number): Make {
  return (g, values, weights) => {
    const from = at(values, pick);
    const last = g.op("Transpose", [from.name], { perm: ints([0, 2, 3, 1]) });
    const normal = g.op("LayerNormalization", [last, weights([from.channels]), weights([from.channels])]);
    return { ...from, name: g.op("Transpose", [normal], { perm: ints([0, 3, 1, 2]) }) };
  };
}

/** Channels as heads times dimensions, attending to each other over positions. */
function attend(pick: number, heads: number): Make {
  return (g, values, weights) => {
    const from = at(values, pick);
    const width = heads * 4;
    const place = SIDE * SIDE;
    const project = (): string => {
      const projected = g.op("Conv", [from.name, weights([width, from.channels, 1, 1])]);
      return g.op("Reshape", [projected, g.int64([-1, heads, 4, place])]);
    };
    const [q, k, v] = [project(), project(), project()];
    const scores = g.op("MatMul", [g.op("Transpose", [q], { perm: ints([0, 1, 3, 2]) }), k]);
    const attended = g.op("MatMul", [v, g.op("Softmax", [scores], { axis: int(-1) })]);
    return { name: g.op("Reshape", [attended, g.int64([-1, width, SIDE, SIDE])]), channels: width };
  };
}

/** A group norm as exporters write it: statistics over the channels of a group and all positions. */
function groupNorm(pick: number, groups: number): Make {
  return (g, values, weights) => {
    const from = at(values, pick);
    if (from.channels % groups !== 0) return from;
    const open = g.op("Reshape", [from.name, g.int64([0, groups, -1])]);
    const ones = g.float32(Array<number>(groups).fill(1));
    const normal = g.op("InstanceNormalization", [open, ones, g.float32(Array<number>(groups).fill(0))]);
    const shut = g.op("Reshape", [normal, g.int64([-1, from.channels, SIDE, SIDE])]);
    return { ...from, name: g.op("Mul", [shut, weights([from.channels, 1, 1])]) };
  };
}

type Between = "nothing" | "softmax over heads" | "mixed heads" | "norm over heads" | "shared gain" | "heads meet";

/** Query heads that share a key head; what stands between them and the result may let heads meet. */
function attendInGroups(pick: number, keys: number, shared: number, between: Between): Make {
  return (g, values, weights) => {
    const from = at(values, pick);
    const place = SIDE * SIDE;
    const project = (heads: number): string => {
      const projected = g.op("Conv", [from.name, weights([heads * 4, from.channels, 1, 1])]);
      const open = g.op("Reshape", [projected, g.int64([-1, heads, 4, place])]);
      return g.op("Transpose", [open], { perm: ints([0, 1, 3, 2]) });
    };
    const repeat = (value: string): string => {
      const sizes = g.int64([1, keys, shared, place, 4]);
      const copies = g.op("Expand", [g.op("Unsqueeze", [value, g.int64([2])]), sizes]);
      return g.op("Reshape", [copies, g.int64([-1, keys * shared, place, 4])]);
    };
    const heads = keys * shared;
    const q = project(heads);
    const [k, v] = [repeat(project(keys)), repeat(project(keys))];
    const scores = g.op("MatMul", [q, g.op("Transpose", [k], { perm: ints([0, 1, 3, 2]) })]);
    let now = g.op("MatMul", [g.op("Softmax", [scores], { axis: int(-1) }), v]);
    if (between === "softmax over heads") now = g.op("Softmax", [now], { axis: int(1) });
    if (between === "shared gain") now = g.op("Mul", [now, weights([4])]);
    if (between === "norm over heads") {
      const last = g.op("Transpose", [now], { perm: ints([0, 2, 3, 1]) });
      now = g.op("Transpose", [g.op("LayerNormalization", [last, weights([heads])])], { perm: ints([0, 3, 1, 2]) });
    }
    const flat = (value: string): string => g.op("Reshape", [value, g.int64([0, heads, -1])]);
    if (between === "mixed heads") {
      const mixed = g.op("MatMul", [weights([heads, heads]), flat(now)]);
      now = g.op("Add", [now, g.op("Reshape", [mixed, g.int64([-1, heads, place, 4])])]);
    }
    if (between === "heads meet") {
      const meeting = g.op("MatMul", [flat(now), g.op("Transpose", [flat(now)], { perm: ints([0, 2, 1]) })]);
      now = g.op("Add", [now, g.op("Unsqueeze", [g.op("ReduceSum", [meeting, g.int64([2])]), g.int64([3])])]);
    }
    const shut = g.op("Reshape", [
      g.op("Transpose", [now], { perm: ints([0, 1, 3, 2]) }),
      g.int64([-1, heads * 4, SIDE, SIDE]),
    ]);
    return { name: shut, channels: heads * 4 };
  };
}

const pick = fc.nat(20);
const between = fc.constantFrom<Between>(
  "nothing",
  "softmax over heads",
  "mixed heads",
  "norm over heads",
  "shared gain",
  "heads meet",
);
const maker: fc.Arbitrary<Make> = fc.oneof(
  fc.tuple(pick, fc.integer({ min: 2, max: 6 }), fc.integer({ min: 1, max: 3 })).map((a) => conv(...a)),
  fc.tuple(pick, fc.constantFrom("Relu", "Sigmoid", "Exp", "Neg")).map((a) => unary(...a)),
  fc.tuple(pick, pick).map((a) => residual(...a)),
  fc.tuple(pick, pick).map((a) => join(...a)),
  fc.tuple(pick, pick).map((a) => halve(...a)),
  fc.tuple(pick, fc.integer({ min: 2, max: 3 })).map((a) => shuffle(...a)),
  pick.map(norm),
  fc.tuple(pick, fc.integer({ min: 2, max: 3 })).map((a) => attend(...a)),
  fc.tuple(pick, fc.integer({ min: 2, max: 3 })).map((a) => groupNorm(...a)),
  fc
    .tuple(pick, fc.integer({ min: 2, max: 3 }), fc.integer({ min: 1, max: 3 }), between)
    .map((a) => attendInGroups(...a)),
);

function build(steps: readonly Make[], seed: number): Graph {
  const g = builder("random", 17);
  const source = seeded(seed, "random graph");
  const weights = (shape: number[]): string => {
    const size = shape.reduce((product, n) => product * n, 1);
    const values = new Float32Array(size);
    source.fillNormal(values);
    const fan = Math.max(1, size / (shape[0] ?? 1));
    for (let i = 0; i < size; i++) values[i] = (values[i] ?? 0) / Math.sqrt(fan);
    return g.constant(float32Tensor(shape, values), "w");
  };
  const values: Value[] = [{ name: g.input("x", "f32", ["batch", 3, SIDE, SIDE]), channels: 3 }];
  values.push(conv(0, 6, 1)(g, values, weights));
  for (const step of steps) {
    const made = step(g, values, weights);
    // Bounded, so that a chain of exponentials stays finite.
    values.push({ ...made, name: g.op("Tanh", [made.name]) });
  }
  const last = values.at(-1) ?? { name: "x", channels: 3 };
  const pooled = g.op("Flatten", [g.op("GlobalAveragePool", [last.name])]);
  g.output(g.op("MatMul", [pooled, weights([last.channels, 3])]), "f32");
  return verify(g.finish());
}

describe("random networks of convolutions, sums, concatenations, splits, shuffles, norms and kinds of attention", () => {
  let runtime: Runtime;
  beforeAll(async () => {
    runtime = await openRuntime({ threads: 1, worker: false });
  });
  afterAll(() => runtime.close());

  it("removed equals masked, whatever the graph", async () => {
    let removed = 0;
    let apart = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(maker, { minLength: 1, maxLength: 8 }), fc.nat(1000), async (steps, seed) => {
        const graph = build(steps, seed);
        const analysis = await analyse(graph, runtime);
        const masks = await masksOf(analysis, random(seed), 0.4);
        removed += masks.size;
        for (const group of masks.keys()) if (group.sets > 1) apart++;
        const small = verify(await cut(graph, analysis.coupling, analysis.facts, masks));
        const reference = masked(graph, analysis.coupling, analysis.facts, masks);
        const law = await checkLaw(runtime, reference, small, [await feedsOf(analysis)]);
        expect(law.relative).toBeLessThan(1e-4);
      }),
      { numRuns: 80 },
    );
    expect(removed).toBeGreaterThan(60);
    expect(apart).toBeGreaterThan(30);
  });
});
