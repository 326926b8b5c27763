import { float, int, ints } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Graph } from "../../graph/graph.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { sizeOf } from "../../tensor/tensor.ts";

/** Shape of a decoder. Heads of the keys and values may be fewer than those of the queries. */
export interface LlamaConfig {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Width of the gated MLP. */
  readonly inner: number;
  /** Tokens of a sequence; the graph is built for exactly this many. */
  readonly time: number;
  readonly epsilon?: number;
  readonly theta?: number;
  readonly seed?: number;
}

/** Adds weights drawn from a normal distribution. */
type Weights = (name: string, shape: readonly number[]) => string;

/**
 * A decoder-only transformer as a graph: RMS norms, rotary positions, grouped queries, gated MLPs, tied embeddings.
 * tokens: i32 [batch, time] → logits: [batch, time, vocabulary]. Weights lie as [in, out].
 */
export function llama(config: LlamaConfig): Graph {
  const { vocabulary, width, layers, heads, kvHeads, inner, time, seed = 0 } = config;
  const g = builder("llama", 23);
  const weights: Weights = (name, shape) => {
    const values = new Float32Array(sizeOf(shape));
    random(seed, "llama", name).fillNormal(values, 0, 0.02);
    return g.constant(float32Tensor(shape, values), name);
  };
  g.input("tokens", "i32", ["batch", time]);
  const table = weights("embed.weight", [vocabulary, width]);
  const tables = rotary(g, width / heads, time, config.theta ?? 10_000);
  let x = g.op("Gather", [table, "tokens"], { axis: int(0) });
  for (let i = 0; i < layers; i++) {
    const at = `layers.${i}`;
    const h = rmsNorm(g, x, `${at}.norm1`, config);
    x = g.op("Add", [x, attention(g, h, `${at}.attention`, { weights, tables, time, width, heads, kvHeads })]);
    const m = rmsNorm(g, x, `${at}.norm2`, config);
    const gate = g.op("MatMul", [m, weights(`${at}.mlp.gate`, [width, inner])]);
    const silu = g.op("Mul", [gate, g.op("Sigmoid", [gate])]);
    const product = g.op("Mul", [silu, g.op("MatMul", [m, weights(`${at}.mlp.up`, [width, inner])])]);
    x = g.op("Add", [x, g.op("MatMul", [product, weights(`${at}.mlp.down`, [inner, width])])]);
  }
  const last = rmsNorm(g, x, "norm", config);
  const head = g.op("Transpose", [table], { perm: ints([1, 0]) });
  g.output(g.op("MatMul", [last, head], {}, "logits"), "f32", ["batch", time, vocabulary]);
  return g.finish();
}

/** x · gain / √(mean x² + ε) over the last axis. */
function rmsNorm(g: Draft, x: string, name: string, { width, epsilon = 1e-5 }: LlamaConfig): string {
  const gain = g.constant(float32Tensor([width], new Float32Array(width).fill(1)), `${name}.weight`);
  return g.op("RMSNormalization", [x, gain], { axis: int(-1), epsilon: float(epsilon) });
}

interface AttentionParts {
  readonly weights: Weights;
  readonly tables: Rotary;
  readonly time: number;
  readonly width: number;
  readonly heads: number;
  readonly kvHeads: number;
}

function attention(
  g: Draft,
  h: string,
  at: string,
  { weights, tables, time, width, heads, kvHeads }: AttentionParts,
): string {
  const size = width / heads;
  const project = (name: string, count: number): string => {
    const flat = g.op("MatMul", [h, weights(`${at}.${name}`, [width, count * size])]);
    const split = g.op("Reshape", [flat, g.int64([0, time, count, size])]);
    return g.op("Transpose", [split], { perm: ints([0, 2, 1, 3]) });
  };
  const repeated = (x: string): string => {
    if (kvHeads === heads) return x;
    const five = g.op("Unsqueeze", [x, g.int64([2])]);
    const wide = g.op("Expand", [five, g.int64([1, 1, heads / kvHeads, 1, 1])]);
    return g.op("Reshape", [wide, g.int64([0, heads, time, size])]);
  };
  const q = g.op("Mul", [turned(g, project("q", heads), tables, size), g.float32([1 / Math.sqrt(size)], [])]);
  const k = repeated(turned(g, project("k", kvHeads), tables, size));
  const v = repeated(project("v", kvHeads));
  const scores = g.op("MatMul", [q, g.op("Transpose", [k], { perm: ints([0, 1, 3, 2]) })]);
  const shares = g.op("Softmax", [g.op("Add", [scores, tables.mask])], { axis: int(-1) });
  const mixed = g.op("Transpose", [g.op("MatMul", [shares, v])], { perm: ints([0, 2, 1, 3]) });
  return g.op("MatMul", [g.op("Reshape", [mixed, g.int64([0, time, width])]), weights(`${at}.o`, [width, width])]);
}

interface Rotary {
  readonly cos: string;
  readonly sin: string;
  /** 0 where a token may look, a large negative number where it may not. */
  readonly mask: string;
}

/** Angles of the rotary positions, as [time, size] with both halves alike, and the causal mask [time, time]. */
function rotary(g: Draft, size: number, time: number, theta: number): Rotary {
  const [cos, sin] = [new Float32Array(time * size), new Float32Array(time * size)];
  const mask = new Float32Array(time * time);
  for (let t = 0; t < time; t++) {
    for (let i = 0; i < size; i++) {
      const angle = t * theta ** (-(i % (size / 2)) / (size / 2));
      cos[t * size + i] = Math.cos(angle);
      sin[t * size + i] = Math.sin(angle);
    }
    mask.fill(-1e9, t * time + t + 1, (t + 1) * time);
  }
  const table = (values: Float32Array, columns: number, name: string): string =>
    g.constant(float32Tensor([time, columns], values), name);
  return { cos: table(cos, size, "cos"), sin: table(sin, size, "sin"), mask: table(mask, time, "mask") };
}

/** x · cos + rotate(x) · sin, where rotate swaps the halves and negates the first. */
function turned(g: Draft, x: string, { cos, sin }: Rotary, size: number): string {
  const half = (from: number, to: number): string => g.op("Slice", [x, g.int64([from]), g.int64([to]), g.int64([3])]);
  const swapped = g.op("Concat", [g.op("Neg", [half(size / 2, size)]), half(0, size / 2)], { axis: int(3) });
  return g.op("Add", [g.op("Mul", [x, cos]), g.op("Mul", [swapped, sin])]);
}
