import { afterAll, describe, expect, it } from "vitest";
import { fromTensors } from "../../data/from-tensors.ts";
import { int } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Graph } from "../../graph/graph.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import type { Step } from "../../tensor/progress.ts";
import { accuracy, evaluatePair, fidelity } from "./fidelity.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1 });
afterAll(() => runtime.close());

const logits = [
  [2, 1, 0],
  [0, 3, 1],
  [-1, 0.5, 4],
  [1, 0, -2],
  [0.25, 0.5, 0.75],
];
const shift = [0, 2, 0];
const shifted = logits.map((row) => row.map((n, i) => n + (shift[i] ?? 0)));
const data = fromTensors({ x: float32Tensor([5, 3], Float32Array.from(logits.flat())) });
const labelled = fromTensors({ x: float32Tensor([5, 3], Float32Array.from(logits.flat())) }, [0, 1, 2, 1, 2]);
const whole = { batchSize: 5 };

/** A graph over x [n, 3] whose outputs are what `outputs` makes of it. */
function graphOf(...outputs: readonly ((g: Draft, x: string) => string)[]): Graph {
  const g = builder("classifier", 17);
  g.input("x", "f32", ["n", 3]);
  for (const [i, make] of outputs.entries()) g.output(g.op("Identity", [make(g, "x")], {}, `y${i}`));
  return g.finish();
}

const same = (_: Draft, x: string): string => x;
const plus = (g: Draft, x: string): string => g.op("Add", [x, g.float32(shift)]);
const times =
  (factor: number) =>
  (g: Draft, x: string): string =>
    g.op("Mul", [x, g.float32([factor], [])]);
const softmax =
  (make: (g: Draft, x: string) => string) =>
  (g: Draft, x: string): string =>
    g.op("Softmax", [make(g, x)], { axis: int(1) });

const identity = graphOf(same);
const moved = graphOf(plus);

/** The definitions as they are written, one number at a time. */
function byHand(a: readonly number[][], b: readonly number[][]) {
  const probabilities = (row: readonly number[]) =>
    row.map((n) => Math.exp(n) / row.reduce((s, m) => s + Math.exp(m), 0));
  const top = (row: readonly number[]) => row.indexOf(Math.max(...row));
  let kl = 0;
  let agree = 0;
  for (const [i, row] of a.entries()) {
    const other = b[i] ?? [];
    const q = probabilities(other);
    for (const [j, p] of probabilities(row).entries()) kl += p * Math.log(p / (q[j] ?? 0));
    if (top(row) === top(other)) agree++;
  }
  const x = a.flat();
  const y = b.flat();
  const dot = (u: number[], v: number[]) => u.reduce((sum, n, i) => sum + n * (v[i] ?? 0), 0);
  const gap = x.map((n, i) => n - (y[i] ?? 0));
  return {
    topAgreement: agree / a.length,
    kl: kl / a.length,
    cosine: dot(x, y) / Math.sqrt(dot(x, x) * dot(y, y)),
    relativeError: Math.sqrt(dot(gap, gap) / dot(x, x)),
  };
}

async function failureOf(work: Promise<unknown>): Promise<EspalierError> {
  const cause = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (cause instanceof EspalierError) return cause;
  throw new Error(`expected an EspalierError, got ${String(cause)}`);
}

/** The runtime, counting sessions that are open. */
function counted(): { readonly runtime: Runtime; readonly open: () => number } {
  let open = 0;
  return {
    open: () => open,
    runtime: {
      ...runtime,
      compile: async (graph, options) => {
        const session = await runtime.compile(graph, options);
        open++;
        return {
          outputs: session.outputs,
          run: (feeds, fetch) => session.run(feeds, fetch),
          release: async () => {
            open--;
            await session.release();
          },
        };
      },
    },
  };
}

describe("fidelity", () => {
  it.each([1, 2, 5, 64])("follows its definitions in batches of %i, the last one smaller", async (batchSize) => {
    const expected = byHand(logits, shifted);
    const found = await fidelity(runtime, identity, moved, data, { batchSize });
    expect(found.samples).toBe(5);
    expect(found.topAgreement).toBe(expected.topAgreement);
    expect(expected.topAgreement).toBeLessThan(1);
    expect(found.kl).toBeCloseTo(expected.kl, 6);
    expect(found.cosine).toBeCloseTo(expected.cosine, 6);
    expect(found.relativeError).toBeCloseTo(expected.relativeError, 6);
  });

  it("tells the original from the pruned model: the divergence is not symmetric", async () => {
    const sharp = graphOf(times(3));
    const there = await fidelity(runtime, identity, sharp, data, whole);
    const back = await fidelity(runtime, sharp, identity, data, whole);
    expect(Math.abs((there.kl ?? 0) - (back.kl ?? 0))).toBeGreaterThan(0.1);
    const tripled = logits.map((row) => row.map((n) => 3 * n));
    expect(there.kl).toBeCloseTo(byHand(logits, tripled).kl, 6);
    expect(back.relativeError).toBeCloseTo(2 / 3, 6);
  });

  it("is perfect for the same model, and not for outputs that are doubled, zero or negated", async () => {
    const of = (factor: number) => fidelity(runtime, identity, graphOf(times(factor)), data, whole);
    expect(await of(1)).toEqual({ topAgreement: 1, kl: 0, cosine: 1, relativeError: 0, samples: 5 });
    const doubled = await of(2);
    expect(doubled.topAgreement).toBe(1);
    expect(doubled.relativeError).toBeCloseTo(1, 12);
    expect(doubled.cosine).toBeCloseTo(1, 12);
    expect(doubled.kl).toBeGreaterThan(0.05);
    expect(await of(0)).toMatchObject({ cosine: 0, relativeError: 1 });
    expect((await of(-1)).cosine).toBeCloseTo(-1, 12);
  });

  it("does not take the softmax of probabilities again", async () => {
    const found = await fidelity(runtime, graphOf(softmax(same)), graphOf(softmax(plus)), data, whole);
    expect(found.kl).toBeCloseTo(byHand(logits, shifted).kl, 5);
  });

  it("stays finite where the pruned model excludes a class and where logits are large", async () => {
    const sharp = (factor: number) => graphOf(softmax(times(factor)));
    const excluded = await fidelity(runtime, sharp(1), sharp(200), data, whole);
    expect(excluded.kl).toBeGreaterThan(1);
    expect(excluded.kl).toBeLessThan(100);
    const large = await fidelity(runtime, graphOf(times(1000)), graphOf(times(999)), data, whole);
    expect(large.kl).toBeGreaterThanOrEqual(0);
    expect(large.kl).toBeLessThan(1);
  });

  it("counts all outputs, and classes of the first one only", async () => {
    const sum = (g: Draft, x: string): string => g.op("ReduceSum", [x, g.int64([1])], { keepdims: int(0) });
    const [a, b] = [graphOf(sum, same), graphOf(sum, plus)];
    const found = await fidelity(runtime, a, b, data, { batchSize: 2 });
    const sums = logits.map((row) => row.reduce((s, n) => s + n, 0));
    const norm = [...sums, ...logits.flat()].reduce((s, n) => s + n * n, 0);
    expect(found.topAgreement).toBeNull();
    expect(found.kl).toBeNull();
    expect(found.relativeError).toBeCloseTo(Math.sqrt((5 * 4) / norm), 6);
  });

  it("refuses outputs of another size", async () => {
    const narrow = (g: Draft, x: string): string => g.op("Gather", [x, g.int64([0, 2])], { axis: int(1) });
    const error = await failureOf(fidelity(runtime, identity, graphOf(narrow), data, whole));
    expect(error.message).toMatchInlineSnapshot(
      `"output y0: expected [5, 3] as in the original, got [5, 2]. Only outputs of the same size can be compared."`,
    );
  });

  it("refuses a pruned model whose numbers are not finite, and names the sample", async () => {
    const log = (g: Draft, x: string): string => g.op("Log", [g.op("Add", [x, g.float32([1], [])])]);
    const error = await failureOf(fidelity(runtime, identity, graphOf(log), data, { batchSize: 2 }));
    expect(error.code).toBe("runtime");
    expect(error.message).toContain("got -Infinity for sample 2.");
  });

  it("leaves out logits that the original itself masks", async () => {
    const mask = (g: Draft, x: string): string => g.op("Add", [x, g.float32([0, 0, Number.NEGATIVE_INFINITY])]);
    const found = await fidelity(
      runtime,
      graphOf(mask),
      graphOf((g, x) => plus(g, mask(g, x))),
      data,
      whole,
    );
    const two = (rows: readonly number[][]) => rows.map((row) => row.slice(0, 2));
    expect(found.kl).toBeCloseTo(byHand(two(logits), two(shifted)).kl, 6);
    expect(found.relativeError).toBeCloseTo(byHand(two(logits), two(shifted)).relativeError, 6);
  });
});

describe("accuracy", () => {
  it.each([1, 2, 5])("is the share of labels that are the largest output, in batches of %i", async (batchSize) => {
    expect(await accuracy(runtime, identity, labelled, { batchSize })).toEqual({ value: 4 / 5, n: 5 });
    expect(await accuracy(runtime, graphOf(times(-1)), labelled, { batchSize })).toEqual({ value: 0, n: 5 });
  });

  it("counts a tie for the first class only", async () => {
    expect(await accuracy(runtime, graphOf(times(0)), labelled, whole)).toEqual({ value: 1 / 5, n: 5 });
  });

  it("takes classes with trailing axes of size 1", async () => {
    const tall = graphOf((g, x) => g.op("Unsqueeze", [x, g.int64([2, 3])]));
    expect((await accuracy(runtime, tall, labelled, whole)).value).toBe(4 / 5);
  });

  it("needs labels, labels that the model knows, and a model that classifies", async () => {
    expect((await failureOf(accuracy(runtime, identity, data, whole))).code).toBe("data");
    const x = float32Tensor([5, 3], Float32Array.from(logits.flat()));
    const beyond = fromTensors({ x }, [0, 1, 2, 3, 0]);
    expect((await failureOf(accuracy(runtime, identity, beyond, { batchSize: 2 }))).message).toMatchInlineSnapshot(
      `"labels: expected labels from 0 to 2, as the model has classes, got 3 for sample 3. Labels must be numbered as the model's outputs are."`,
    );
    const flat = graphOf((g, y) => g.op("ReduceSum", [y, g.int64([1])], { keepdims: int(0) }));
    expect((await failureOf(accuracy(runtime, flat, labelled, whole))).message).toMatchInlineSnapshot(
      `"output y0: expected [samples, classes], got [5]. Accuracy needs a model that classifies."`,
    );
  });
});

describe("evaluatePair", () => {
  it("gives in one walk what fidelity and accuracy give in two", async () => {
    const steps: Step[] = [];
    const both = await evaluatePair(runtime, identity, moved, labelled, {
      batchSize: 2,
      progress: (at) => steps.push(at),
    });
    expect(both.fidelity).toEqual(await fidelity(runtime, identity, moved, data, { batchSize: 2 }));
    const before = await accuracy(runtime, identity, labelled, whole);
    const after = await accuracy(runtime, moved, labelled, whole);
    expect(after.value).not.toBe(before.value);
    expect(both.accuracy).toEqual({ before: before.value, after: after.value, n: 5 });
    expect(steps.map(({ done, total }) => `${done}/${total}`)).toEqual(["0/5", "2/5", "4/5", "5/5"]);
  });

  it("has no accuracy without labels or without classes", async () => {
    expect((await evaluatePair(runtime, identity, moved, data, whole)).accuracy).toBeNull();
    const flat = graphOf((g, x) => g.op("ReduceSum", [x, g.int64([1])], { keepdims: int(0) }));
    expect((await evaluatePair(runtime, flat, flat, labelled, whole)).accuracy).toBeNull();
  });

  it("compares whole numbers as outputs too", async () => {
    const answer = (g: Draft, x: string): string => g.op("ArgMax", [x], { axis: int(1), keepdims: int(0) });
    const found = await fidelity(
      runtime,
      graphOf(answer),
      graphOf((g, x) => answer(g, plus(g, x))),
      data,
      whole,
    );
    expect(found).toMatchObject({ topAgreement: null, kl: null, samples: 5 });
    expect(found.relativeError).toBeGreaterThan(0);
  });

  it("releases its sessions when it is done, when it fails and when it is stopped", async () => {
    const one = counted();
    await evaluatePair(one.runtime, identity, moved, labelled, whole);
    const beyond = fromTensors({ x: float32Tensor([1, 3], Float32Array.of(1, 2, 3)) }, [9]);
    await failureOf(evaluatePair(one.runtime, identity, moved, beyond, whole));
    const stop = new AbortController();
    const stopped = evaluatePair(one.runtime, identity, moved, labelled, {
      batchSize: 1,
      signal: stop.signal,
      progress: ({ done }) => {
        if (done === 2) stop.abort();
      },
    });
    await expect(stopped).rejects.toThrow("aborted");
    expect(one.open()).toBe(0);
  });
});
