import type { Dataset } from "../../data/dataset.ts";
import { int } from "../../graph/attributes.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Carry, Runtime } from "../../runtime/runtime.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { toFloat64 } from "../../tensor/numeric.ts";
import { step } from "../../tensor/progress.ts";
import { sumLast } from "../taps/unfold.ts";
import type { Fidelity } from "./agreement.ts";
import {
  type Likelihood,
  type LikelihoodOptions,
  logitsOf,
  runSize,
  scored,
  withOutputs,
  writeLikelihood,
} from "./likelihood.ts";

/** What one walk over data with a label for each position says of the original and the pruned model. */
export interface LikelihoodPair {
  readonly before: Likelihood;
  readonly after: Likelihood;
  /** At the positions whose labels count. */
  readonly fidelity: Fidelity;
}

/** Names that a state gives what the original computed. */
const carried = ["log-probabilities", "logits"] as const;

/**
 * Runs both models on all samples. What the original computes stays beside the runtime, where the pruned model is
 * compared with it: only sums come back, whatever the size of the vocabulary. Throws like `likelihood`.
 */
export async function likelihoodPair(
  runtime: Runtime,
  original: Graph,
  pruned: Graph,
  data: Dataset,
  options: LikelihoodOptions,
): Promise<LikelihoodPair> {
  const rank = data.labelShape?.length ?? 0;
  const one = referenceOf(original, rank);
  const two = comparedOf(pruned, rank);
  const state = await runtime.state();
  const first = await runtime.compile(one.graph);
  const second = await runtime.compile(two.graph).catch(async (cause: unknown) => {
    await first.release();
    throw cause;
  });
  const write: Carry = { state, reads: new Map(), writes: one.writes };
  const read: Carry = { state, reads: two.reads, writes: new Map() };
  const before = { nll: 0, hits: 0, count: 0 };
  const after = { nll: 0, hits: 0, count: 0 };
  const sums = new Float64Array(two.sums.length);
  let done = 0;
  try {
    for await (const batch of data.batches(runSize(original, data, options.batchSize))) {
      step(options, "evaluate", done, data.count);
      const dense = await scored(first, original, one.ends, batch, write);
      const small = await scored(second, pruned, two.ends, batch, read);
      for (const [total, found] of [[before, dense] as const, [after, small] as const]) {
        for (let i = 0; i < batch.count; i++) {
          total.nll += found.nll[i] ?? 0;
          total.hits += found.hits[i] ?? 0;
          total.count += found.count[i] ?? 0;
        }
      }
      for (const [i, name] of two.sums.entries()) {
        const values = small.values.get(name);
        if (values === undefined) continue;
        for (const value of toFloat64(values)) sums[i] = (sums[i] ?? 0) + value;
      }
      done += batch.count;
    }
    step(options, "evaluate", done, data.count);
  } finally {
    await first.release();
    await second.release();
    await state.release();
  }
  const [divergence = 0, same = 0, dot = 0, dense = 0, small = 0, difference = 0] = sums;
  const norms = Math.sqrt(dense) * Math.sqrt(small);
  return {
    before,
    after,
    fidelity: {
      topAgreement: same / after.count,
      kl: Math.max(0, divergence / after.count),
      cosine: norms > 0 ? Math.min(1, Math.max(-1, dot / norms)) : difference === 0 ? 1 : 0,
      relativeError: difference === 0 ? 0 : Math.sqrt(difference / dense),
      samples: data.count,
    },
  };
}

/** The original, which gives what it computed to a state. */
function referenceOf(graph: Graph, rank: number) {
  const draft = edit(graph);
  const ends = writeLikelihood(draft, graph.opsets.get("") ?? 1, logitsOf(graph), rank);
  // A value that is an input of the next graph needs a name of its own as an output.
  const logits = draft.op("Cast", [logitsOf(graph)], { to: int(onnxNumberOf("f32")) }, draft.fresh("logits"));
  const given = [ends.logProbabilities, logits];
  return {
    ends,
    graph: withOutputs(draft.finish(), [ends.logLikelihood, ends.hits, ...given]),
    writes: new Map(given.map((name, i) => [name, carried[i] ?? ""])),
  };
}

/** The pruned model, which compares what it computes with what a state holds, at positions that count. */
function comparedOf(graph: Graph, rank: number) {
  const draft = edit(graph);
  const opset = graph.opsets.get("") ?? 1;
  const ends = writeLikelihood(draft, opset, logitsOf(graph), rank);
  const classes = graph.outputs[0]?.dims?.at(-1) ?? "classes";
  const dims = ["batch", ...Array.from({ length: rank }, (_, i) => `label ${i}`), classes];
  const [log, logits] = carried.map((name) => draft.input(draft.fresh(name), "f32", dims));
  const own = draft.op("Cast", [logitsOf(graph)], { to: int(onnxNumberOf("f32")) });
  const weight = draft.op("Reshape", [ends.counted, draft.int64([0, -1, 1])]);
  const flat = draft.int64([0, -1]);
  /** Σ over positions that count of Σ over classes. */
  const total = (x: string): string => {
    const overClasses = sumLast(draft, opset, x);
    const positions = draft.op("Reshape", [overClasses, draft.int64([0, -1, 1])]);
    const counted = draft.op("Reshape", [draft.op("Mul", [positions, weight]), flat]);
    return draft.op("Identity", [sumLast(draft, opset, counted)], {}, draft.fresh("compared"));
  };
  const product = (a: string, b: string): string => draft.op("Mul", [a, b]);
  const [reference, before] = [log ?? "", logits ?? ""];
  const gap = draft.op("Sub", [reference, ends.logProbabilities]);
  const likeliest = (x: string): string => draft.op("ArgMax", [x], { axis: int(-1), keepdims: int(0) });
  const same = draft.op("Cast", [draft.op("Equal", [likeliest(before), likeliest(own)])], {
    to: int(onnxNumberOf("f32")),
  });
  const difference = draft.op("Sub", [before, own]);
  const one = draft.op("Reshape", [same, draft.int64([...dims.slice(0, -1).map(() => 0), 1])]);
  const sums = [
    total(product(draft.op("Exp", [reference]), gap)),
    total(one),
    total(product(before, own)),
    total(product(before, before)),
    total(product(own, own)),
    total(product(difference, difference)),
  ];
  return {
    ends,
    sums,
    graph: withOutputs(draft.finish(), [ends.logLikelihood, ends.hits, ...sums]),
    reads: new Map([
      [reference, carried[0]],
      [before, carried[1]],
    ]),
  };
}
