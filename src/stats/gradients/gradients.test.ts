import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { int } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, fromFloats, toFloat64 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { load } from "../../tensor/tensor.ts";
import { collectGradients, type GradientNeed } from "./gradients.ts";
import { flowMeter } from "./synaptic-flow.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const [inputs, hidden, classes, count] = [3, 4, 3, 7];

function normals(n: number, label: string): Float32Array {
  const values = new Float32Array(n);
  random(21, label).fillNormal(values);
  return values;
}

function network(activation: "Tanh" | "Relu" = "Tanh"): Graph {
  const g = builder("net");
  g.input("x", "f32", ["n", inputs]);
  const w1 = g.float32([...normals(inputs * hidden, "w1")], [inputs, hidden], "w1");
  const w2 = g.float32([...normals(hidden * classes, "w2")], [hidden, classes], "w2");
  g.output(g.op("MatMul", [g.op(activation, [g.op("MatMul", ["x", w1])]), w2], {}, "y"), "f32", ["n", classes]);
  return g.finish();
}

const x = normals(count * inputs, "x");
const labels = Int32Array.from({ length: count }, (_, i) => i % classes);
const tensors = new Map([["x", float32Tensor([count, inputs], x)]]);
const data = fromTensors(tensors, labels, "made up");
const unlabelled = fromTensors(tensors, undefined, "made up");

type Weights = Record<"w1" | "w2", Float64Array>;
const names = ["w1", "w2"] as const;

async function weightsOf(graph: Graph): Promise<Weights> {
  const read = async (name: string) => toFloat64(await load(graph.constants.get(name) ?? expect.fail()));
  return { w1: await read("w1"), w2: await read("w2") };
}

/** Loss of one sample in float64. `label` null: the class that the weights `own` find most likely. */
function loss(w: Weights, sample: number, label: number | null, own: Weights = w, temperature = 1): number {
  const logitsOf = ({ w1, w2 }: Weights) => {
    const h = Array.from({ length: hidden }, (_, j) =>
      Math.tanh([0, 1, 2].reduce((sum, i) => sum + (x[sample * inputs + i] ?? 0) * (w1[i * hidden + j] ?? 0), 0)),
    );
    return Array.from({ length: classes }, (_, c) => h.reduce((sum, v, j) => sum + v * (w2[j * classes + c] ?? 0), 0));
  };
  const logits = logitsOf(w).map((v) => v / temperature);
  const ownLogits = logitsOf(own);
  const at = label ?? ownLogits.indexOf(Math.max(...ownLogits));
  return Math.log(logits.reduce((sum, v) => sum + Math.exp(v), 0)) - (logits[at] ?? 0);
}

const mean = (w: Weights, own: Weights, labelled: boolean, temperature = 1) =>
  [...labels].reduce((sum, label, s) => sum + loss(w, s, labelled ? label : null, own, temperature), 0) / count;

function moved(w: Weights, name: "w1" | "w2", i: number, step: number): Weights {
  const other = w[name].slice();
  other[i] = (other[i] ?? 0) + step;
  return { ...w, [name]: other };
}

/** Central differences of f by every weight. */
function slopes(w: Weights, f: (w: Weights) => number, step = 1e-5): Weights {
  const of = (name: "w1" | "w2") =>
    w[name].map((_, i) => (f(moved(w, name, i, step)) - f(moved(w, name, i, -step))) / (2 * step));
  return { w1: of("w1"), w2: of("w2") };
}

async function measured(need: GradientNeed, source = data, batchSize = 3, graph = network()): Promise<Weights> {
  const found = await collectGradients(runtime, graph, names, [need], source, { batchSize });
  const of = (name: string) => Float64Array.from(found.get(name)?.[need] ?? expect.fail());
  return { w1: of("w1"), w2: of("w2") };
}

function close(found: Weights, expected: Weights, tolerance: number): void {
  for (const name of names) {
    const size = Math.sqrt(expected[name].reduce((sum, v) => sum + v * v, 0));
    let error = 0;
    for (const [i, v] of expected[name].entries()) error += (v - (found[name][i] ?? Number.NaN)) ** 2;
    expect(Math.sqrt(error)).toBeLessThan(tolerance * size);
  }
}

const w = await weightsOf(network());

describe("gradients over data are those of brute force", () => {
  it("their mean, whatever the batches", async () => {
    const expected = slopes(w, (v) => mean(v, w, true));
    close(await measured("gradient"), expected, 1e-4);
    close(await measured("gradient", data, 7), expected, 1e-4);
    expect(() => close({ w1: expected.w2, w2: expected.w1 }, expected, 1e-4)).toThrow();
  });

  it("against the model's own classes where there are no labels", async () => {
    const own = slopes(w, (v) => mean(v, w, false));
    close(await measured("gradient", unlabelled), own, 1e-4);
    expect(() =>
      close(
        own,
        slopes(w, (v) => mean(v, w, true)),
        1e-2,
      ),
    ).toThrow();
  });

  it("sizes and squares of each sample alone", async () => {
    const each = [...labels].map((label, s) => slopes(w, (v) => loss(v, s, label)));
    const averaged = (f: (g: number) => number): Weights => {
      const of = (name: "w1" | "w2") =>
        w[name].map((_, i) => each.reduce((sum, g) => sum + f(g[name][i] ?? 0), 0) / count);
      return { w1: of("w1"), w2: of("w2") };
    };
    close(
      await measured("gradientSquare"),
      averaged((g) => g * g),
      1e-4,
    );
    close(await measured("gradientMagnitude"), averaged(Math.abs), 1e-4);
  });

  it.each(["gradient", "gradientMagnitude", "gradientSquare"] as const)(
    "%s of weights in bfloat16, in which no processor computes",
    async (need) => {
      const g = builder("net", 17);
      g.input("x", "f32", ["n", inputs]);
      const weight = (name: "w1" | "w2", shape: readonly number[]) => {
        const constant = g.constant(fromFloats("bf16", shape, Float32Array.from(w[name])), name);
        return g.op("Cast", [constant], { to: int(1) });
      };
      const [w1, w2] = [weight("w1", [inputs, hidden]), weight("w2", [hidden, classes])];
      g.output(g.op("MatMul", [g.op("Tanh", [g.op("MatMul", ["x", w1])]), w2], {}, "y"), "f32", ["n", classes]);
      // Weights and gradients have eight bits.
      close(await measured(need, data, 7, g.finish()), await measured(need, data, 7), 2e-2);
    },
  );

  it.each(["gradient", "gradientMagnitude"] as const)(
    "%s of weights stored in half floats, below the smallest half float",
    async (need) => {
      const least = 2 ** -24;
      /** The second weights are rows that are looked up, and everything counts for next to nothing. */
      const faint = (dtype: "f16" | "f32") => {
        const g = builder("net", 17);
        g.input("x", "f32", ["n", inputs]);
        const weight = (name: "w1" | "w2", shape: readonly number[]) =>
          g.constant(fromFloats(dtype, shape, Float32Array.from(w[name])), name);
        const wide = (value: string) => g.op("Cast", [value], { to: int(1) });
        const w1 = wide(weight("w1", [inputs, hidden]));
        const w2 = wide(g.op("Gather", [weight("w2", [hidden, classes]), g.int64([0, 1, 2, 3])]));
        const y = g.op("MatMul", [g.op("Tanh", [g.op("MatMul", ["x", w1])]), w2]);
        g.output(g.op("Mul", [y, g.float32([1e-9], [1], "faint")], {}, "y"), "f32", ["n", classes]);
        return g.finish();
      };
      const found = await measured(need, data, 7, faint("f16"));
      for (const name of names) {
        expect(found[name].some((slope) => Math.abs(slope) > 0)).toBe(true);
        expect(found[name].every((slope) => Math.abs(slope) < least / 4)).toBe(true);
      }
      close(found, await measured(need, data, 7, faint("f32")), 2e-3);
    },
  );

  it("the diagonal of the Hessian, as far as random signs tell", async () => {
    const exact = slopes(w, (v) => mean(v, w, true));
    const of = (name: "w1" | "w2") =>
      w[name].map((_, i) => {
        const step = 1e-3;
        const f = (s: number) => mean(moved(w, name, i, s), w, true);
        return (f(step) - 2 * f(0) + f(-step)) / (step * step);
      });
    const diagonal = { w1: of("w1"), w2: of("w2") };
    const many = fromTensors(
      new Map([
        [
          "x",
          float32Tensor(
            [1000 * count, inputs],
            Float32Array.from({ length: 1000 * x.length }, (_, i) => x[i % x.length] ?? 0),
          ),
        ],
      ]),
      Int32Array.from({ length: 1000 * count }, (_, i) => labels[i % count] ?? 0),
      "repeated",
    );
    close(await measured("hessianDiagonal", many, count), diagonal, 0.3);
    expect(() => close(exact, diagonal, 0.5)).toThrow();
  });

  it("H·g at softened logits, up to a factor", async () => {
    const soft = (v: Weights) => mean(v, w, true, 200);
    const g = slopes(w, soft, 1e-3);
    const norm = Math.sqrt([...g.w1, ...g.w2].reduce((sum, v) => sum + v * v, 0));
    const along = (step: number): Weights => ({
      w1: w.w1.map((v, i) => v + (step * (g.w1[i] ?? 0)) / norm),
      w2: w.w2.map((v, i) => v + (step * (g.w2[i] ?? 0)) / norm),
    });
    const [up, down] = [slopes(along(0.01), soft, 1e-3), slopes(along(-0.01), soft, 1e-3)];
    const of = (name: "w1" | "w2") => up[name].map((v, i) => (v - (down[name][i] ?? 0)) / 0.02);
    close(await measured("hessianGradient"), { w1: of("w1"), w2: of("w2") }, 1e-2);
  });
});

describe("synaptic flow", () => {
  async function flowThrough(
    ...[graph, ...rest]: Parameters<typeof flowMeter> extends [unknown, ...infer R] ? R : never
  ) {
    const meter = await flowMeter(runtime, graph, ...rest);
    const found = await meter.measure(graph);
    await meter.release();
    return found;
  }

  const types = new Map([["x", { dtype: "f32", shape: [1, inputs] }]] as const);

  it("is kept from layer to layer, and is the product of absolute weights along paths", async () => {
    const found = await flowThrough(network("Relu"), names, types);
    const sums = names.map((name) => (found.get(name) ?? expect.fail()).reduce((sum, v) => sum + v, 0));
    for (const sum of sums) expect(sum).toBeCloseTo(1, 5);
    const [a, b] = [w.w1.map(Math.abs), w.w2.map(Math.abs)];
    const out = Array.from({ length: hidden }, (_, j) =>
      [0, 1, 2].reduce((sum, c) => sum + (b[j * classes + c] ?? 0), 0),
    );
    const scores = a.map((v, i) => v * (out[i % hidden] ?? 0));
    const total = scores.reduce((sum, v) => sum + v, 0);
    for (const [i, v] of scores.entries()) expect(found.get("w1")?.[i]).toBeCloseTo(v / total, 5);
  });

  it("follows weights that change, and is nothing where nothing passes", async () => {
    const graph = network("Relu");
    const meter = await flowMeter(runtime, graph, names, types);
    const changed = (by: (values: Float32Array) => Float32Array) => {
      const { bytes } = float32Tensor([inputs, hidden], by(Float32Array.from(w.w1)));
      const ref = { dtype: "f32", shape: [inputs, hidden], resident: bytes } as const;
      return { ...graph, constants: new Map(graph.constants).set("w1", ref) };
    };
    const some = await meter.measure(changed((values) => values.map((v, i) => (i % 2 === 0 ? v : 0))));
    for (const name of names) expect(some.get(name)?.reduce((sum, v) => sum + v, 0)).toBeCloseTo(1, 5);
    for (const [i, v] of (some.get("w1") ?? expect.fail()).entries()) expect(v === 0).toBe(i % 2 === 1);
    const none = await meter.measure(changed((values) => values.map(() => 0)));
    for (const values of none.values()) expect(values.every((v) => v === 0)).toBe(true);
    await meter.release();
  });

  it("survives what overflows float32", async () => {
    const g = builder("deep");
    g.input("x", "f32", ["n", 4]);
    let value = "x";
    for (let i = 0; i < 25; i++)
      value = g.op("MatMul", [value, g.float32(Array<number>(16).fill(3 + i), [4, 4], `w${i}`)]);
    g.output(value, "f32", ["n", 4]);
    const deep = g.finish();
    await expect(
      flowThrough(deep, [...deep.constants.keys()], new Map([["x", { dtype: "f32", shape: [1, 4] }]])),
    ).resolves.toBeDefined();
  });
});

it("an operator without a gradient is named", async () => {
  const g = builder("stuck");
  g.input("x", "f32", ["n", 2]);
  const product = g.op("MatMul", ["x", g.float32([1, 2, 3, 4], [2, 2], "w")]);
  g.output(g.op("Det", [g.op("MatMul", ["x", product])], {}, "y"), "f32", ["n", 2]);
  const two = fromTensors(new Map([["x", float32Tensor([2, 2], Float32Array.of(1, 2, 3, 4))]]), undefined, "two");
  await expect(collectGradients(runtime, g.finish(), ["w"], ["gradient"], two, { batchSize: 2 })).rejects.toThrow();
});
