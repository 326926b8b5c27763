import { int } from "../../graph/attributes.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph } from "../../graph/graph.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";

/** How the hidden states of a text become one: that of its first token, or the mean of its real tokens. */
export type Pooling = "first" | "mean";

/** The value that encoders give, and the one that pooling adds. */
const hidden = "last_hidden_state";
const pooled = "sentence_embedding";

/**
 * An encoder's graph with one more output `sentence_embedding` [batch, width]. The mean is over tokens that attention_mask
 * marks, over all where the graph has none. `normalise` scales each to length 1. Throws `request` for other graphs.
 */
export function withPooling(graph: Graph, how: Pooling, { normalise = false } = {}): Graph {
  const answer = graph.outputs.find(({ name }) => name === hidden);
  if (answer === undefined) {
    const message = `expected the graph of an encoder, with an output ${hidden}, got none.`;
    throw new EspalierError("request", `graph "${graph.name}"`, message);
  }
  const g = edit(graph);
  const mask = graph.inputs.some(({ name }) => name === "attention_mask") ? "attention_mask" : undefined;
  const one = g.int64([1]);
  const mean = (): string => {
    if (mask === undefined) return g.op("ReduceMean", [hidden, one], { keepdims: int(0) });
    const real = g.op("Unsqueeze", [g.op("Cast", [mask], { to: int(onnxNumberOf("f32")) }), g.int64([-1])]);
    const sum = g.op("ReduceSum", [g.op("Mul", [hidden, real]), one], { keepdims: int(0) });
    // A text without any token has a mean of zero.
    return g.op("Div", [
      sum,
      g.op("Max", [g.op("ReduceSum", [real, one], { keepdims: int(0) }), g.float32([1e-9], [])]),
    ]);
  };
  const vector = how === "mean" ? mean() : g.op("Gather", [hidden, g.int64([0], [])], { axis: int(1) });
  const last = normalise ? g.op("LpNormalization", [vector], { axis: int(-1), p: int(2) }) : vector;
  g.output(g.op("Identity", [last], {}, pooled), "f32", ["batch", answer.dims?.at(-1) ?? null]);
  return g.finish();
}
