import { afterAll, describe, expect, it } from "vitest";
import { type IndexedDataset, indexed } from "../../data/dataset.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { likelihood, openScorer } from "./likelihood.ts";
import { judge, judgePair } from "./metric.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

const [vocabulary, time] = [7, 5];

/** Looks tokens up and says what comes next; `noise` moves what it says. */
function language(noise: number, opset = 17): Graph {
  const g = builder("language", opset);
  g.input("ids", "i64", ["n", "t"]);
  const values = new Float32Array(vocabulary * vocabulary);
  random(1, "table").fillNormal(values);
  const moved = new Float32Array(values.length);
  random(2, "noise").fillNormal(moved, 0, noise);
  for (let i = 0; i < values.length; i++) values[i] = (values[i] ?? 0) + (moved[i] ?? 0);
  const table = g.constant(float32Tensor([vocabulary, vocabulary], values), "table");
  g.output(g.op("Gather", [table, "ids"], {}, "logits"), "f32", ["n", "t", vocabulary]);
  return g.finish();
}

const ids = Int32Array.from({ length: 6 * time }, (_, i) => random(3, i).int(vocabulary));
/** The next token of each place; some do not count. */
const labels = ids.map((_, i) => (i % time === time - 1 || i % 7 === 3 ? -1 : (ids[i + 1] ?? 0)));

const data: IndexedDataset = indexed({
  description: "sequences",
  count: 6,
  labelled: true,
  labelShape: [time],
  features: new Map([["ids", { dtype: "i64", shape: [time] }]]),
  gather: async (positions) => {
    const rows = (source: Int32Array) =>
      Int32Array.from([...positions].flatMap((p) => [...source.slice(p * time, (p + 1) * time)]));
    return {
      inputs: new Map([["ids", fromInts("i64", [positions.length, time], rows(ids))]]),
      labels: rows(labels),
      count: positions.length,
    };
  },
});

/** Log-probabilities of every place by hand. */
async function logits(graph: Graph): Promise<readonly number[][]> {
  const session = await runtime.compile(graph);
  const out = await session.run(new Map([["ids", fromInts("i64", [6, time], ids)]]));
  await session.release();
  const values = toFloat32(out.get("logits") ?? expect.fail());
  return Array.from(ids, (_, i) => [...values.slice(i * vocabulary, (i + 1) * vocabulary)]);
}

const logSoftmax = (row: readonly number[]): number[] => {
  const sum = Math.log(row.reduce((total, x) => total + Math.exp(x), 0));
  return row.map((x) => x - sum);
};

describe("likelihood of labels", () => {
  it.each([11, 12, 13, 17, 23])("is what log-softmax says, where labels count (operator set %i)", async (opset) => {
    const graph = language(0, opset);
    const rows = await logits(graph);
    let [nll, hits, count] = [0, 0, 0];
    for (const [i, label] of labels.entries()) {
      if (label < 0) continue;
      const row = rows[i] ?? [];
      nll -= logSoftmax(row)[label] ?? 0;
      hits += row.indexOf(Math.max(...row)) === label ? 1 : 0;
      count++;
    }
    for (const batchSize of [1, 4, 6]) {
      const found = await likelihood(runtime, graph, data, { batchSize });
      expect(found.count).toBe(count);
      expect(found.hits).toBe(hits);
      expect(found.nll).toBeCloseTo(nll, 4);
    }
    expect((await judge(runtime, graph, data, { batchSize: 4 }))?.value).toBeCloseTo(Math.exp(nll / count), 4);
    // The label of the place itself is another thing than that of the next: a shift would be seen.
    const shifted = [...labels].reduce(
      (sum, label, i) => sum - (label < 0 ? 0 : (logSoftmax(rows[i] ?? [])[ids[i] ?? 0] ?? 0)),
      0,
    );
    expect(Math.abs(shifted - nll)).toBeGreaterThan(0.1);
  });

  it("is told for each sample", async () => {
    const scorer = await openScorer(runtime, language(0), 1);
    const all = await scorer.score(await data.gather(Int32Array.of(0, 1, 2)));
    const one = await scorer.score(await data.gather(Int32Array.of(1)));
    await scorer.release();
    expect(all.nll[1]).toBeCloseTo(one.nll[0] ?? 0, 6);
    expect(all.count[1]).toBe(one.count[0]);
  });

  it("of a classifier has one label for each sample", async () => {
    const g = builder("classifier");
    g.input("x", "f32", ["n", 2]);
    g.output(g.op("Identity", ["x"], {}, "y"), "f32", ["n", 2]);
    const rows = [0, 0, 3, 0];
    const scorer = await openScorer(runtime, g.finish(), 0);
    const inputs = new Map([["x", float32Tensor([2, 2], Float32Array.from(rows))]]);
    const { nll } = await scorer.score({ inputs, labels: Int32Array.of(1, 0), count: 2 });
    await scorer.release();
    expect([...nll]).toEqual([expect.closeTo(Math.LN2, 5), expect.closeTo(Math.log1p(Math.exp(-3)), 5)]);
  });

  it("of a pair says how near they are at places that count", async () => {
    const [original, pruned] = [language(0), language(0.5)];
    const [a, b] = [await logits(original), await logits(pruned)];
    const sums = { kl: 0, same: 0, dot: 0, aa: 0, bb: 0, dd: 0, n: 0 };
    for (const [i, label] of labels.entries()) {
      if (label < 0) continue;
      const [x, y] = [a[i] ?? [], b[i] ?? []];
      const [p, q] = [logSoftmax(x), logSoftmax(y)];
      for (let k = 0; k < vocabulary; k++) {
        sums.kl += Math.exp(p[k] ?? 0) * ((p[k] ?? 0) - (q[k] ?? 0));
        sums.dot += (x[k] ?? 0) * (y[k] ?? 0);
        sums.aa += (x[k] ?? 0) ** 2;
        sums.bb += (y[k] ?? 0) ** 2;
        sums.dd += ((x[k] ?? 0) - (y[k] ?? 0)) ** 2;
      }
      sums.same += x.indexOf(Math.max(...x)) === y.indexOf(Math.max(...y)) ? 1 : 0;
      sums.n++;
    }
    const { fidelity, metric } = await judgePair(runtime, original, pruned, data, { batchSize: 4 });
    expect(fidelity?.kl).toBeCloseTo(sums.kl / sums.n, 5);
    expect(fidelity?.topAgreement).toBeCloseTo(sums.same / sums.n, 6);
    expect(fidelity?.cosine).toBeCloseTo(sums.dot / Math.sqrt(sums.aa * sums.bb), 5);
    expect(fidelity?.relativeError).toBeCloseTo(Math.sqrt(sums.dd / sums.aa), 5);
    const after = await judge(runtime, pruned, data, { batchSize: 6 });
    expect(metric).toMatchObject({ name: "perplexity", n: after?.n });
    expect(metric?.after).toBeCloseTo(after?.value ?? 0, 4);
    expect(metric?.before).not.toBeCloseTo(metric?.after ?? 0, 2);
    const same = await judgePair(runtime, original, original, data, { batchSize: 6 });
    expect(same.fidelity).toMatchObject({ kl: expect.closeTo(0, 6), topAgreement: 1, relativeError: 0 });
  });

  it("refuses what cannot be told", async () => {
    await expect(likelihood(runtime, language(0, 9), data, { batchSize: 2 })).rejects.toThrow(
      /operator set 11 or later, got 9/,
    );
    const none = {
      ...data,
      gather: async (p: Int32Array) => ({
        ...(await data.gather(p)),
        labels: new Int32Array(p.length * time).fill(-1),
      }),
    };
    await expect(likelihood(runtime, language(0), indexed(none), { batchSize: 2 })).rejects.toThrow(
      /expected labels that count/,
    );
  });
});
