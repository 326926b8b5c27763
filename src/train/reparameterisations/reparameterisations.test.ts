import { afterAll, describe, expect, it } from "vitest";
import { gradient } from "../../autodiff/gradient.ts";
import { sized } from "../../autodiff/sized.ts";
import { algebra, type SizedGraph } from "../../graph/algebra/algebra.ts";
import { builder } from "../../graph/builder.ts";
import type { Feeds } from "../../graph/graph.ts";
import { evaluate } from "../../runtime/evaluate.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type HostTensor, refOf } from "../../tensor/tensor.ts";
import { meanSquareError } from "../objectives/losses.ts";
import { sgd } from "../optimisers/sgd.ts";
import { trainSteps } from "../step.ts";
import { openTrainer, withState } from "../trainer.ts";
import { type Reparameterised, reparameterised } from "./apply.ts";
import { gate } from "./gate.ts";
import { lora } from "./lora.ts";
import { lowRank } from "./low-rank.ts";
import { mask } from "./mask.ts";
import { gumbel, hardConcrete, sigmoidGate } from "./relaxations.ts";
import type { Reparameterisation } from "./reparameterisation.ts";
import { scoreMask } from "./score-mask.ts";
import { sharedTable } from "./shared-table.ts";
import { softMask, topMask } from "./soft-mask.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const [batch, wide, narrow] = [4, 5, 3];

function normals(n: number, label: string): Float32Array {
  const values = new Float32Array(n);
  random(11, label).fillNormal(values);
  return values;
}

/** x [n, 5] · w1 → tanh · w2 → y [n, 3]. */
function network() {
  const g = builder("net");
  g.input("x", "f32", ["n", wide]);
  const w1 = g.float32([...normals(wide * wide, "w1")], [wide, wide], "w1");
  const w2 = g.float32([...normals(wide * narrow, "w2")], [wide, narrow], "w2");
  g.output(g.op("MatMul", [g.op("Tanh", [g.op("MatMul", ["x", w1])]), w2], {}, "y"), "f32", ["n", narrow]);
  return g.finish();
}

const plain = await sized(network(), runtime, new Map([["x", { dtype: "f32", shape: [batch, wide] }]]));
const x = float32Tensor([batch, wide], normals(batch * wide, "x"));
const target = float32Tensor([batch, narrow], normals(batch * narrow, "t"));
const weights = new Map([...network().constants].map(([name, ref]) => [name, ref.resident ?? new Uint8Array()]));

const outputOf = async (model: SizedGraph, feeds: Feeds = new Map()) =>
  (await valuesOf(model, ["y"], feeds)).get("y") ?? expect.fail();

async function valuesOf(model: SizedGraph, names: readonly string[], feeds: Feeds = new Map()) {
  const found = await evaluate(runtime, model.graph, names, new Map([["x", x], ...feeds]));
  return new Map([...found].map(([name, tensor]) => [name, toFloat32(tensor)]));
}

function near(a: ArrayLike<number>, b: ArrayLike<number>, tolerance = 1e-5): void {
  expect(a).toHaveLength(b.length);
  for (let i = 0; i < b.length; i++) expect(Math.abs((a[i] ?? Number.NaN) - (b[i] ?? 0))).toBeLessThan(tolerance);
}

/** Trains a few steps and gives the state. */
async function trained(model: Reparameterised, parameters: readonly string[], steps = 5) {
  const [step = expect.fail()] = trainSteps({
    model: model.model,
    groups: [{ parameters, optimiser: sgd({ momentum: 0.5 }) }],
    loss: (c) => meanSquareError(c.g, c.outputs[0] ?? expect.fail(), c.input("t", "f32", [batch, narrow])),
  });
  const trainer = await openTrainer(runtime, [step]);
  const losses: number[] = [];
  for (let i = 0; i < steps; i++) {
    const feeds = new Map([["x", x], ["t", target], ...model.feeds(i, 3)]);
    losses.push((await trainer.run(step, feeds, 0.1)).get("loss") ?? Number.NaN);
  }
  const { tensors } = await trainer.snapshot();
  await trainer.release();
  return { state: tensors, losses };
}

/** The training graph with the values of a state in the place of its constants. */
const withValues = (model: SizedGraph, state: ReadonlyMap<string, HostTensor>): SizedGraph => ({
  ...model,
  graph: withState(model.graph, state),
});

const ones = (count: number): HostTensor =>
  float32Tensor(
    [wide, count],
    Float32Array.from({ length: wide * count }, (_, i) => (i % 3 === 0 ? 0 : 1)),
  );

/** All whose training form is what they become for good, when nothing is drawn. */
const exact: readonly (readonly [string, () => Reparameterisation])[] = [
  ["mask", () => mask([ones(wide), ones(narrow)])],
  ["LoRA", () => lora({ rank: 2, alpha: 3 })],
  ["LoRA that keeps zeros", () => lora({ rank: 2, masked: true })],
  ["low rank", () => lowRank({ rank: 2 })],
  ["scores", () => scoreMask({ sparsity: 0.5 })],
  ["scores of rows", () => scoreMask({ sparsity: 0.5, axes: [0] })],
  [
    "scores of columns, by size",
    () => scoreMask({ sparsity: 0.3, axes: [1], absolute: true, start: { sd: 1, seed: 2 } }),
  ],
];

describe.each(exact)("%s", (_, make) => {
  it("computes the same for good as while it learned", async () => {
    const model = await reparameterised(plain, [{ parameters: ["w1", "w2"], by: make() }]);
    const free = ["w1", "w2"].filter((name) => !model.replaced.has(name));
    const { state, losses } = await trained(model, [...model.trained, ...free]);
    expect(losses.at(-1)).toBeLessThan(losses[0] ?? 0);
    const learnt = await outputOf(withValues(model.model, state));
    const hard = await model.harden(runtime, state);
    near(await outputOf(withValues(plain, hard)), learnt);
    expect([...hard.keys()].sort()).toEqual(["w1", "w2"]);
  });
});

describe("a shared table", () => {
  it("gives every weight an entry or its negative, and no more numbers than it has", async () => {
    const by = sharedTable({ size: 7, seed: 4, sd: 1, scales: [1, 2] });
    const model = await reparameterised(plain, [{ parameters: ["w1", "w2"], by }]);
    expect([...model.replaced].sort()).toEqual(["w1", "w2"]);
    const hard = await model.harden(runtime, new Map());
    near(await outputOf(withValues(plain, hard)), await outputOf(model.model));
    const sizes = [...hard].flatMap(([name, tensor]) =>
      [...toFloat32(tensor)].map((value) => Math.abs(name === "w2" ? value / 2 : value).toFixed(6)),
    );
    expect(new Set(sizes).size).toBe(7);
  });
});

describe("what the model computes with at the start", () => {
  it.each([
    ["LoRA", lora({ rank: 2 })],
    ["low rank at full rank", lowRank({ rank: wide })],
    ["scores that remove nothing", scoreMask({ sparsity: 0 })],
  ])("is the parameter itself: %s", async (_, by) => {
    const model = await reparameterised(plain, [{ parameters: ["w1", "w2"], by }]);
    near(await outputOf(model.model), await outputOf(plain), 1e-4);
  });

  it("goes through several uses in turn", async () => {
    const uses = [
      { parameters: ["w1"], by: lora({ rank: 1 }) },
      { parameters: ["w1"], by: mask([ones(wide)]) },
    ];
    const model = await reparameterised(plain, uses);
    const hard = await model.harden(runtime, (await trained(model, model.trained)).state);
    const values = toFloat32(hard.get("w1") ?? expect.fail());
    for (const [i, value] of values.entries()) expect(value === 0).toBe(i % 3 === 0);
  });
});

describe("gradients", () => {
  const byName = async (model: Reparameterised, names: readonly string[], feeds: Feeds = new Map()) => {
    const g = algebra(model.model);
    const found = gradient(g, meanSquareError(g, g.of("y"), g.constant(target)), names);
    const values = await valuesOf(
      g.finish(),
      [...found.values()].map(({ name }) => name),
      feeds,
    );
    return new Map([...found].map(([name, { name: value }]) => [name, values.get(value) ?? expect.fail()]));
  };

  it("of a score is w · g, of its weight mask · g, where g is the gradient at the product", async () => {
    const model = await reparameterised(plain, [{ parameters: ["w1"], by: scoreMask({ sparsity: 0.5 }) }]);
    const [score = ""] = model.trained;
    const effective = model.effective.get("w1") ?? "";
    const found = await byName(model, [score, "w1", effective]);
    const dense = found.get(effective) ?? expect.fail();
    const w = toFloat32({ dtype: "f32", shape: [wide, wide], bytes: weights.get("w1") ?? new Uint8Array() });
    const hard = toFloat32((await model.harden(runtime, new Map())).get("w1") ?? expect.fail());
    near(
      found.get(score) ?? [],
      dense.map((g, i) => g * (w[i] ?? 0)),
    );
    near(
      found.get("w1") ?? [],
      dense.map((g, i) => ((hard[i] ?? 0) === 0 ? 0 : g)),
    );
    expect(dense.filter((g, i) => g !== 0 && hard[i] === 0).length).toBeGreaterThan(5);
  });

  it("do not pass a value that is stopped", async () => {
    const g = algebra(plain);
    const w = g.of("w1");
    const found = gradient(g, g.sum(g.mul(w, g.stop(w))), ["w1"]).get("w1") ?? expect.fail();
    const product = gradient(g, g.sum(g.mul(w, w)), ["w1"]).get("w1") ?? expect.fail();
    const values = await valuesOf(g.finish(), [found.name, product.name]);
    const plainValues = toFloat32({ dtype: "f32", shape: [wide, wide], bytes: weights.get("w1") ?? new Uint8Array() });
    near(values.get(found.name) ?? [], plainValues);
    near(
      values.get(product.name) ?? [],
      plainValues.map((v) => 2 * v),
    );
  });

  it("of a soft mask and the mask itself are the golden numbers of PDP", async () => {
    const g = builder("golden");
    g.input("x", "f32", [1, 4]);
    const w = g.float32([0.1, -0.2, 0.3, 0.4], [4, 1], "w");
    g.output(g.op("MatMul", ["x", w], {}, "y"), "f32", [1, 1]);
    const small = await sized(g.finish(), runtime, new Map([["x", { dtype: "f32", shape: [1, 4] }]]));
    const by = softMask({ sparsity: 0.5, temperature: 0.01 });
    const model = await reparameterised(small, [{ parameters: ["w"], by }]);
    const a = algebra(model.model);
    const slope = gradient(a, a.sum(a.of(model.effective.get("w") ?? "")), ["w"]).get("w") ?? expect.fail();
    const soft = model.exposed[0]?.value ?? "";
    const values = await evaluate(runtime, a.finish().graph, [soft, slope.name]);
    near(toFloat32(values.get(soft) ?? expect.fail()), [0.00522, 0.09535, 0.93991, 0.99994], 1e-5);
    near(toFloat32(values.get(slope.name) ?? expect.fail()), [0.0156, 0.7854, 1.9565, 1.0018], 1e-4);
    const hard = toFloat32((await model.harden(runtime, new Map())).get("w") ?? expect.fail());
    near(hard, [0, 0, 0.3, 0.4], 1e-7);
  });

  it("a share that the host feeds moves the threshold", async () => {
    const by = softMask({ sparsity: "fed", temperature: 1e-6 });
    const model = await reparameterised(plain, [{ parameters: ["w1"], by }]);
    const [fed = expect.fail()] = model.fed;
    const kept = async (share: number) => {
      const feeds = new Map([[fed.input, float32Tensor([], Float32Array.of(share))]]);
      return toFloat32((await model.harden(runtime, new Map(), feeds)).get("w1") ?? expect.fail()).filter(Boolean)
        .length;
    };
    expect([await kept(0), await kept(0.4), await kept(0.96), await kept(1)]).toEqual([25, 15, 1, 1]);
    await expect(model.harden(runtime, new Map())).rejects.toThrow();
  });
});

describe("what competes", () => {
  /** [3, 4, 2]: outputs, inputs, positions. */
  const kernel = Float32Array.from(normals(24, "kernel"));
  const cube = async () => {
    const g = builder("cube");
    g.input("x", "f32", [2, 4, 5]);
    const w = g.constant(float32Tensor([3, 4, 2], kernel), "w");
    g.output(g.op("Conv", ["x", w], {}, "y"), "f32", [2, 3, 4]);
    return sized(g.finish(), runtime, new Map([["x", { dtype: "f32", shape: [2, 4, 5] }]]));
  };
  const hardened = async (by: Reparameterisation) => {
    const model = await reparameterised(await cube(), [{ parameters: ["w"], by }]);
    return toFloat32((await model.harden(runtime, new Map())).get("w") ?? expect.fail());
  };
  const at = (o: number, i: number, p: number): number => kernel[(o * 4 + i) * 2 + p] ?? 0;

  it("N of M neighbours along an axis: the largest of each group stay, whatever the share", async () => {
    for (const [keep, of, axis] of [
      [1, 4, 1],
      [2, 4, 1],
      [1, 3, 0],
      [2, 2, 2],
    ] as const) {
      const hard = await hardened(
        softMask({ sparsity: 0.1, temperature: 0.1, among: { kind: "n:m", keep, of, axis } }),
      );
      for (let index = 0; index < 24; index++) {
        const place = [Math.floor(index / 8), Math.floor(index / 2) % 4, index % 2];
        const [o = 0, i = 0, p = 0] = place;
        const rivals = Array.from({ length: of }, (_, k) => {
          const other = place.map((n, a) => (a === axis ? Math.floor(n / of) * of + k : n));
          return Math.abs(at(other[0] ?? 0, other[1] ?? 0, other[2] ?? 0));
        });
        const larger = rivals.filter((size) => size > Math.abs(at(o, i, p))).length;
        expect((hard[index] ?? Number.NaN) + 0).toBe(larger < keep ? at(o, i, p) : 0);
      }
    }
    await expect(hardened(topMask({ sparsity: 0, among: { kind: "n:m", keep: 1, of: 3, axis: 1 } }))).rejects.toThrow(
      /that 3 divides/,
    );
  });

  it("slices of an axis, by the length of their weights", async () => {
    const hard = await hardened(topMask({ sparsity: 1 / 3, among: { kind: "slices", axis: 0 } }));
    const lengths = [0, 1, 2].map((o) => Math.hypot(...kernel.subarray(8 * o, 8 * o + 8)));
    const least = lengths.indexOf(Math.min(...lengths));
    for (const [index, value] of hard.entries()) {
      expect(value + 0).toBe(Math.floor(index / 8) === least ? 0 : (kernel[index] ?? 0));
    }
  });

  it("soft and hard masks share thresholds, and a straight-through one passes the gradient whole", async () => {
    const among = { kind: "n:m", keep: 2, of: 4, axis: 1 } as const;
    const [soft, hard] = [softMask({ sparsity: 0, temperature: 1e-7, among }), topMask({ sparsity: 0, among })];
    near(await hardened(soft), await hardened(hard));
    const model = await reparameterised(await cube(), [{ parameters: ["w"], by: hard }]);
    const a = algebra(model.model);
    const effective = model.effective.get("w") ?? "";
    const found = gradient(a, a.sum(a.square(a.of("y"))), ["w", effective]);
    const names = [...found.values()].map(({ name }) => name);
    const feeds = new Map([["x", float32Tensor([2, 4, 5], normals(40, "cube"))]]);
    const values = await evaluate(runtime, a.finish().graph, names, feeds);
    const [own, dense] = names.map((name) => toFloat32(values.get(name) ?? expect.fail()));
    near(own ?? [], dense ?? []);
    expect(dense?.every((slope) => slope !== 0)).toBe(true);
  });
});

describe("gates", () => {
  const places = [
    { axis: 1, units: [0, 0, 1, 1, 1] },
    { axis: 0, units: [0, 0, 1, 1, 1] },
  ];

  it.each([
    ["hard concrete", hardConcrete(), 0.03],
    ["Gumbel", gumbel(), 0.03],
  ] as const)("open as often as they say: %s", async (_, relaxation, tolerance) => {
    const model = await reparameterised(plain, [{ parameters: ["w1"], by: gate({ relaxation, start: -0.3 }) }]);
    const [open = expect.fail()] = model.exposed;
    const product = model.effective.get("w1") ?? "";
    const expected = (await valuesOf(model.model, [open.value])).get(open.value)?.[0] ?? Number.NaN;
    let count = 0;
    for (let run = 0; run < 80; run++) {
      const values = await evaluate(runtime, model.model.graph, [product], model.feeds(run, 1));
      count += toFloat32(values.get(product) ?? expect.fail()).filter((v) => v !== 0).length;
    }
    expect(Math.abs(count / (80 * wide * wide) - expected)).toBeLessThan(tolerance);
  });

  it("of a unit close it in every parameter that it is in", async () => {
    const by = gate({ relaxation: sigmoidGate(), units: { count: 2, places } });
    const model = await reparameterised(plain, [{ parameters: ["w1", "w2"], by }]);
    const logits = new Map([[model.trained[0] ?? "", float32Tensor([2], Float32Array.of(-1, 2))]]);
    const hard = await model.harden(runtime, logits);
    const rows = toFloat32(hard.get("w2") ?? expect.fail());
    for (const [i, value] of rows.entries()) expect(value === 0).toBe(i < 2 * narrow);
    const columns = toFloat32(hard.get("w1") ?? expect.fail());
    for (const [i, value] of columns.entries()) expect(value === 0).toBe(i % wide < 2);
  });

  it("close under a price on open ones, and stay open without", async () => {
    const openAfter = async (price: number) => {
      const by = gate({ relaxation: hardConcrete(), start: 0.5 });
      const model = await reparameterised(plain, [{ parameters: ["w1"], by }]);
      const open = model.exposed[0]?.value ?? "";
      const [step = expect.fail()] = trainSteps({
        model: model.model,
        groups: [{ parameters: model.trained, optimiser: sgd({ momentum: 0 }) }],
        loss: (c) => c.g.add(c.g.mul(c.g.sum(c.of(open)), price), c.g.mul(c.g.sum(c.outputs[0] ?? expect.fail()), 0)),
      });
      const trainer = await openTrainer(runtime, [step]);
      for (let i = 0; i < 30; i++) await trainer.run(step, new Map([["x", x], ...model.feeds(i, 1)]), 1);
      const { tensors } = await trainer.snapshot();
      await trainer.release();
      return toFloat32((await model.harden(runtime, tensors)).get("w1") ?? expect.fail()).filter(Boolean).length;
    };
    expect(await openAfter(1)).toBe(0);
    expect(await openAfter(0)).toBe(wide * wide);
  });

  it("draw the same noise for the same seed and run, another for another", async () => {
    const model = await reparameterised(plain, [{ parameters: ["w1"], by: gate({ relaxation: hardConcrete() }) }]);
    const bytes = (run: number, seed: number) => [...model.feeds(run, seed).values()].map((t) => [...t.bytes]);
    expect(bytes(3, 1)).toEqual(bytes(3, 1));
    expect(bytes(3, 1)).not.toEqual(bytes(4, 1));
    expect(bytes(3, 1)).not.toEqual(bytes(3, 2));
  });
});

describe("refusals", () => {
  it("names an expression of another shape", async () => {
    const by: Reparameterisation = { id: "wrong", initial: async () => new Map(), write: ({ g }) => [g.scalar(1)] };
    await expect(reparameterised(plain, [{ parameters: ["w1"], by }])).rejects.toThrow(
      /wrong of w1.*\[5, 5\], got \[\]/,
    );
  });

  it("names a parameter that is none", async () => {
    await expect(reparameterised(plain, [{ parameters: ["w9"], by: lora({ rank: 1 }) }])).rejects.toThrow(/"w9"/);
  });
});

it("the suite catches a hard form that forgets a factor", async () => {
  const right = lora({ rank: 2, alpha: 4 });
  const wrong: Reparameterisation = {
    ...right,
    write: (site, form) => (form === "hard" ? site.parameters : right.write(site, form)),
  };
  const model = await reparameterised(plain, [{ parameters: ["w1"], by: wrong }]);
  const { state } = await trained(model, model.trained);
  const learnt = await outputOf(withValues(model.model, state));
  const hard = await outputOf(withValues(plain, await model.harden(runtime, state)));
  expect(() => near(hard, learnt)).toThrow();
  expect(refOf(x).dtype).toBe("f32");
});
