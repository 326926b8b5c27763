import { afterAll, describe, expect, it } from "vitest";
import { gradient } from "../../autodiff/gradient.ts";
import { sized } from "../../autodiff/sized.ts";
import { algebra } from "../../graph/algebra/algebra.ts";
import { builder } from "../../graph/builder.ts";
import { evaluate } from "../../runtime/evaluate.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { svd, symmetricEigen } from "../../tensor/linalg/eigen.ts";
import { rankOf, truncate } from "../../tensor/linalg/low-rank.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { sgd } from "../optimisers/sgd.ts";
import { type LossContext, trainSteps } from "../step.ts";
import { openTrainer } from "../trainer.ts";
import { bisecting, lagrangian } from "./controllers.ts";
import { meanSquareError } from "./losses.ts";
import {
  constraint,
  directionsOf,
  expectedSize,
  groupLasso,
  l1,
  nuclearNorm,
  polarisation,
  type Regulariser,
  regularised,
  scaleL1,
  shrink,
  squares,
} from "./regularisers.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const values = { a: normals(6, "a"), b: normals(8, "b"), gamma: [0.7, -0.02, 1.5, 0.01], p: [0.25, 0.75], q: [0.5] };
const shapes = { a: [2, 3], b: [4, 2], gamma: [4], p: [2], q: [1] } as const;

function normals(n: number, label: string): number[] {
  const out = new Float32Array(n);
  random(5, label).fillNormal(out);
  return [...out];
}

const model = await (async () => {
  const g = builder("terms");
  g.input("x", "f32", [1]);
  for (const name of ["a", "b", "gamma", "p", "q"] as const) g.float32(values[name], shapes[name], name);
  const sum = ["a", "b", "gamma", "p", "q"].map((name) => g.op("ReduceSum", [name], {}));
  g.output(g.op("Sum", ["x", ...sum], {}, "y"), "f32", [1]);
  return sized(g.finish(), runtime, new Map([["x", { dtype: "f32", shape: [1] }]]));
})();

/** A term's value and its gradient by a parameter. */
async function measured(term: Regulariser, by: string, feeds: ReadonlyMap<string, ReturnType<typeof float32Tensor>>) {
  const g = algebra(model);
  const context: LossContext = {
    g,
    outputs: [],
    of: (name) => g.of(name),
    input: (name, dtype, shape) => g.input(name, dtype, shape),
    number: (name) => g.input(name, "f32", []),
  };
  const value = term(context);
  const slope = gradient(g, value, [by]).get(by) ?? expect.fail();
  const found = await evaluate(runtime, g.finish().graph, [value.name, slope.name], feeds);
  return {
    value: toFloat32(found.get(value.name) ?? expect.fail())[0] ?? Number.NaN,
    slope: [...toFloat32(found.get(slope.name) ?? expect.fail())],
  };
}

const abs = (list: readonly number[]) => list.reduce((sum, n) => sum + Math.abs(n), 0);
const square = (list: readonly number[]) => list.reduce((sum, n) => sum + n * n, 0);

describe("terms", () => {
  const mean = values.gamma.reduce((sum, n) => sum + n, 0) / 4;
  const rowNorms = [0, 1].map((r) => {
    const own = square(values.a.slice(3 * r, 3 * r + 3));
    return Math.sqrt(own + square(values.b.filter((_, i) => (Math.floor(i / 2) < 2 ? 0 : 1) === r)));
  });
  const size = Math.sqrt(3 + 2);
  const places = [
    { parameter: "a", axis: 0, units: [0, 1] },
    { parameter: "b", axis: 0, units: [0, 0, 1, 1] },
  ];
  const cases: readonly (readonly [string, Regulariser, string, number])[] = [
    ["L1", l1(["a", "b"]), "a", abs(values.a) + abs(values.b)],
    ["squares", squares(["a"]), "a", square(values.a)],
    ["scales", scaleL1(new Map([["gamma", null]])), "gamma", abs(values.gamma)],
    ["chosen scales", scaleL1(new Map([["gamma", [0, 1, 0, 1]]])), "gamma", 0.03],
    [
      "polarisation",
      polarisation(["gamma"], 1.2),
      "gamma",
      1.2 * abs(values.gamma) - abs(values.gamma.map((n) => n - mean)),
    ],
    ["group lasso", groupLasso(2, places), "b", size * (rowNorms[0] ?? 0) + size * (rowNorms[1] ?? 0)],
    ["group lasso of one unit", groupLasso(2, places, [0, 1]), "a", size * (rowNorms[1] ?? 0)],
    [
      "size",
      expectedSize([
        { cost: 30, open: ["p", "q"] },
        { cost: 10, open: ["p"] },
      ]),
      "p",
      0.75 * 0.25 + 0.25 * 0.5,
    ],
  ];

  it.each(cases)("%s has its value, and the gradient of central differences", async (_, term, by, expected) => {
    const { value, slope } = await measured(term, by, new Map());
    expect(value).toBeCloseTo(expected, 4);
    const start = model.graph.constants.get(by)?.resident ?? new Uint8Array();
    const plain = toFloat32({ dtype: "f32", shape: [start.length / 4], bytes: start });
    for (const i of [0, plain.length - 1]) {
      const moved = async (step: number) => {
        const other = plain.slice();
        other[i] = (other[i] ?? 0) + step;
        const bytes = new Uint8Array(other.buffer);
        const constants = new Map(model.graph.constants);
        const ref = constants.get(by) ?? expect.fail();
        constants.set(by, { ...ref, resident: bytes });
        const g = algebra({ ...model, graph: { ...model.graph, constants } });
        const found = term({
          g,
          outputs: [],
          of: g.of.bind(g),
          input: () => expect.fail(),
          number: () => expect.fail(),
        });
        const result = await evaluate(runtime, g.finish().graph, [found.name]);
        return toFloat32(result.get(found.name) ?? expect.fail())[0] ?? 0;
      };
      expect(slope[i]).toBeCloseTo(((await moved(0.004)) - (await moved(-0.004))) / 0.008, 2);
    }
  });

  it("the nuclear norm is the sum of singular values, its gradient U·Vᵀ", async () => {
    const a = Float64Array.from(values.b);
    const { directions, values: singular } = truncate(a, 4, 2, { kind: "rank", rank: 2 });
    const fed = new Map([[directionsOf("b"), float32Tensor([4, 2], Float32Array.from(directions))]]);
    const { value, slope } = await measured(nuclearNorm(["b"]), "b", fed);
    const gram = Float64Array.from({ length: 4 }, (_, i) =>
      [0, 1, 2, 3].reduce((sum, r) => sum + (a[2 * r + (i >> 1)] ?? 0) * (a[2 * r + (i & 1)] ?? 0), 0),
    );
    const expected = symmetricEigen(gram, 2).values.reduce((sum, n) => sum + Math.sqrt(n), 0);
    expect(value).toBeCloseTo(expected, 4);
    expect(singular[0]).toBeGreaterThan(singular[1] ?? 0);
    for (const [i, n] of slope.entries()) expect(n).toBeCloseTo(directions[i] ?? 0, 5);
  });

  it("a wrong factor is caught", async () => {
    const { value } = await measured(l1(["a"]), "a", new Map());
    expect(() => expect(2 * value).toBeCloseTo(abs(values.a), 4)).toThrow();
  });
});

describe("ranks", () => {
  const three = Float64Array.from([3, 4 / 3, 0.1]);
  it("follow their rules, and are never 0", () => {
    expect(rankOf(three, { kind: "energy", share: 0.8 })).toBe(1);
    expect(rankOf(three, { kind: "energy", share: 0.9 })).toBe(2);
    expect(rankOf(three, { kind: "energy", share: 1 })).toBe(3);
    expect(rankOf(three, { kind: "value", least: 0.1 })).toBe(3);
    expect(rankOf(three, { kind: "value", least: 9 })).toBe(1);
    expect(rankOf(three, { kind: "rank", rank: 7 })).toBe(3);
  });

  it("the truncated product is the nearest: the error is the rest of the singular values", () => {
    const a = Float64Array.from(normals(20, "m"));
    for (const [m, n] of [
      [5, 4],
      [4, 5],
    ] as const) {
      const { values: singular } = svd(a.slice(), m, n);
      const { product, values: own } = truncate(a, m, n, { kind: "rank", rank: 2 });
      const error = a.reduce((sum, value, i) => sum + (value - (product[i] ?? 0)) ** 2, 0);
      expect(error).toBeCloseTo((singular[2] ?? 0) ** 2 + (singular[3] ?? 0) ** 2, 9);
      for (const [k, value] of own.entries()) expect(value).toBeCloseTo(singular[k] ?? 0, 7);
      // A matrix of lower rank is its own projection, however far its singular values are apart.
      const again = truncate(product, m, n, { kind: "energy", share: 1 - 1e-12 });
      for (const [i, value] of again.product.entries()) expect(value).toBeCloseTo(product[i] ?? 0, 9);
      expect(again.rank).toBe(2);
    }
  });
});

describe("an objective with penalties", () => {
  it("reports each by its name, and shrinking gives exact zeros where L1 alone swings", async () => {
    const of = async (exact: boolean) => {
      const g = builder("line");
      g.input("x", "f32", ["n", 3]);
      g.output(g.op("MatMul", ["x", g.float32([0.9, 0.003, -0.004], [3, 1], "w")], {}, "y"), "f32", ["n", 1]);
      const line = await sized(g.finish(), runtime, new Map([["x", { dtype: "f32", shape: [1, 3] }]]));
      const [step = expect.fail()] = trainSteps({
        model: line,
        groups: [{ parameters: ["w"], optimiser: sgd({ momentum: 0 }) }],
        loss: regularised((c) => meanSquareError(c.g, c.outputs[0] ?? expect.fail(), c.input("t", "f32", [1, 1])), {
          ...(exact ? {} : { size: { strength: "lambda", term: l1(["w"]) } }),
        }),
        ...(exact
          ? { afterUpdate: (a, next) => new Map([["w", shrink(a, next.get("w") ?? expect.fail(), 0.001)]]) }
          : {}),
      });
      const trainer = await openTrainer(runtime, [step]);
      const feeds = new Map([
        ["x", float32Tensor([1, 3], Float32Array.of(1, 0, 0))],
        ["t", float32Tensor([1, 1], Float32Array.of(1))],
      ]);
      const rounds = await Promise.all([]);
      let reports: ReadonlyMap<string, number> = new Map();
      for (let i = 0; i < 20 + rounds.length; i++) {
        reports = await trainer.run(step, feeds, 0.1, { number: () => 0.01 });
      }
      const w = toFloat32((await trainer.get(["w"])).get("w") ?? expect.fail());
      await trainer.release();
      return { w, reports };
    };
    const swinging = await of(false);
    expect([...swinging.reports.keys()].sort()).toEqual(["loss", "objective", "size"]);
    const { loss, objective, size } = Object.fromEntries(swinging.reports);
    expect(loss).toBeCloseTo((objective ?? 0) + 0.01 * (size ?? 0), 6);
    expect(swinging.w[1]).not.toBe(0);
    const exact = await of(true);
    expect([exact.w[1], Math.abs(exact.w[2] ?? 1)]).toEqual([0, 0]);
    expect(exact.w[0]).toBeGreaterThan(0.9);
  });

  it("a constraint counts its excess by the multiplier", async () => {
    const term = constraint(expectedSize([{ cost: 1, open: ["p"] }]), 0.3, "lambda", 4);
    const { value } = await measured(term, "p", new Map([["lambda", float32Tensor([], Float32Array.of(3))]]));
    expect(value).toBeCloseTo(3 * 0.2 + 2 * 0.2 ** 2, 5);
  });
});

describe("controllers", () => {
  /** What is left of a size under a price. */
  const left = (price: number) => 1 / (1 + price);

  it("a multiplier settles where the constraint holds, and rests at 0 where it always does", () => {
    const controller = lagrangian({ rate: 2 });
    let state = controller.start;
    for (let i = 0; i < 200; i++) state = controller.next(state, left(controller.value(state)) - 0.25);
    expect(controller.value(state)).toBeCloseTo(3, 3);
    for (let i = 0; i < 500; i++) state = controller.next(state, left(controller.value(state)) - 1.1);
    expect(controller.value(state)).toBe(0);
  });

  it("bisection closes in on the price", () => {
    const controller = bisecting(1e-4, 1e4);
    let state = controller.start;
    for (let i = 0; i < 40; i++) state = controller.next(state, left(controller.value(state)) - 0.25);
    expect(controller.value(state)).toBeCloseTo(3, 4);
  });
});
