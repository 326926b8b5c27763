import { float, floats, int, ints, string } from "../../src/graph/attributes.ts";
import type { Attribute } from "../../src/graph/graph.ts";
import type { GradientCase } from "./check.ts";

const f32 = "f32" as const;
const strings = (value: readonly string[]): Attribute => ({ kind: "strings", value });
const small = (...shape: number[]) => ({ shape, range: [-0.8, 0.8] }) as const;
const ids = (shape: number[], ints: number[]) => ({ ints, shape });
const sees = { shape: [3, 4], dtype: "bool", ints: [1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1] } as const;

/** Recurrent layers: time 3, batch 2, features 3, hidden 2. */
const recurrent: readonly GradientCase[] = [
  {
    op: "LSTM",
    inputs: [small(3, 2, 3), small(1, 8, 3), small(1, 8, 2), small(1, 16)],
    attributes: { hidden_size: int(2) },
  },
  {
    op: "LSTM",
    form: "both ways, with states and peepholes",
    inputs: [
      small(3, 2, 3),
      small(2, 8, 3),
      small(2, 8, 2),
      small(2, 16),
      null,
      small(2, 2, 2),
      small(2, 2, 2),
      small(2, 6),
    ],
    attributes: { hidden_size: int(2), direction: string("bidirectional") },
    outputs: 3,
    read: [0, 1, 2],
  },
  {
    op: "LSTM",
    form: "other activations, lengths given",
    inputs: [small(3, 2, 3), small(1, 8, 3), small(1, 8, 2), null, { ints: [3, 3], dtype: "i32" }],
    attributes: {
      hidden_size: int(2),
      activations: strings(["HardSigmoid", "ScaledTanh", "Affine"]),
      activation_alpha: floats([0.3, 0.9, 1.1]),
      activation_beta: floats([0.4, 0.8, 0.1]),
    },
    outputs: 2,
    read: [1],
  },
  {
    op: "GRU",
    inputs: [small(3, 2, 3), small(1, 6, 3), small(1, 6, 2), small(1, 12)],
    attributes: { hidden_size: int(2) },
  },
  {
    op: "GRU",
    form: "reset after the product, backwards",
    inputs: [small(3, 2, 3), small(1, 6, 3), small(1, 6, 2), small(1, 12), null, small(1, 2, 2)],
    attributes: { hidden_size: int(2), linear_before_reset: int(1), direction: string("reverse") },
    outputs: 2,
    read: [0, 1],
  },
  {
    op: "RNN",
    inputs: [small(3, 2, 3), small(2, 2, 3), small(2, 2, 2), small(2, 4)],
    attributes: { hidden_size: int(2), direction: string("bidirectional"), activations: strings(["Tanh", "Sigmoid"]) },
    outputs: 2,
    read: [0, 1],
  },
];

/** Attention of ai.onnx: batch 2, 4 query heads, rows 3, columns 4, width 2. */
const attention: readonly GradientCase[] = [
  { op: "Attention", opset: 23, inputs: [small(2, 4, 3, 2), small(2, 4, 4, 2), small(2, 4, 4, 3)] },
  {
    op: "Attention",
    form: "shared key heads, mask, cap and scale",
    opset: 23,
    inputs: [small(2, 4, 3, 2), small(2, 2, 4, 2), small(2, 2, 4, 2), sees],
    attributes: { softcap: float(0.7), scale: float(0.9) },
  },
  {
    op: "Attention",
    form: "folded heads, causal, added mask",
    opset: 23,
    inputs: [small(2, 3, 8), small(2, 3, 4), small(2, 3, 4), small(3, 3)],
    attributes: { q_num_heads: int(4), kv_num_heads: int(2), is_causal: int(1) },
  },
  {
    op: "Attention",
    form: "past, causal, everything read",
    opset: 23,
    inputs: [small(1, 2, 2, 2), small(1, 2, 2, 2), small(1, 2, 2, 2), null, small(1, 2, 3, 2), small(1, 2, 3, 2)],
    attributes: { is_causal: int(1) },
    outputs: 3,
    read: [0, 1, 2],
  },
  ...[0, 1, 2, 3].map(
    (mode): GradientCase => ({
      op: "Attention",
      form: `scores shown at point ${mode}`,
      opset: 23,
      inputs: [small(1, 2, 3, 2), small(1, 2, 4, 2), small(1, 2, 4, 2), small(3, 4)],
      attributes: { qk_matmul_output_mode: int(mode), softcap: float(0.5) },
      outputs: 4,
      read: [0, 3],
    }),
  ),
  {
    op: "RotaryEmbedding",
    opset: 23,
    inputs: [small(2, 2, 3, 4), small(5, 2), small(5, 2), ids([2, 3], [0, 1, 2, 2, 3, 4])],
  },
  {
    op: "RotaryEmbedding",
    form: "folded heads, part of a head, side by side",
    opset: 23,
    inputs: [small(2, 3, 12), small(2, 3, 2), small(2, 3, 2)],
    attributes: { num_heads: int(2), rotary_embedding_dim: int(4), interleaved: int(1) },
  },
];

const ms = (op: string): string => `com.microsoft::${op}`;

/** Fused forms of com.microsoft: batch 2, time 3, 2 heads of 2. */
const fused: readonly GradientCase[] = [
  { op: ms("Attention"), inputs: [small(2, 3, 4), small(4, 12), small(12)], attributes: { num_heads: int(2) } },
  {
    op: ms("Attention"),
    form: "mask, uneven widths, one way",
    inputs: [small(2, 3, 4), small(4, 10), small(10), { ints: [1, 1, 1, 1, 1, 0], shape: [2, 3], dtype: "i32" }],
    attributes: { num_heads: int(2), unidirectional: int(1), qkv_hidden_sizes: ints([4, 4, 2]) },
  },
  {
    op: ms("Attention"),
    form: "counts of keys and a bias",
    inputs: [small(2, 3, 4), small(4, 12), small(12), { ints: [3, 2], dtype: "i32" }, null, small(2, 2, 3, 3)],
    attributes: { num_heads: int(2) },
  },
  {
    op: ms("MultiHeadAttention"),
    inputs: [small(2, 3, 4), small(2, 5, 4), small(2, 5, 4), small(12)],
    attributes: { num_heads: int(2), scale: float(0.6) },
  },
  {
    op: ms("MultiHeadAttention"),
    form: "mask and bias",
    inputs: [
      small(2, 3, 4),
      small(2, 4, 4),
      small(2, 4, 4),
      null,
      { ints: [1, 1, 1, 0, 1, 1, 1, 1], shape: [2, 4], dtype: "i32" },
      small(1, 2, 3, 4),
    ],
    attributes: { num_heads: int(2) },
  },
  {
    op: ms("GroupQueryAttention"),
    inputs: [
      small(2, 3, 16),
      small(2, 3, 8),
      small(2, 3, 8),
      null,
      null,
      { ints: [2, 2], dtype: "i32" },
      { ints: [3], dtype: "i32", shape: [] },
    ],
    attributes: { num_heads: int(2), kv_num_heads: int(1), local_window_size: int(2), softcap: float(0.5) },
    outputs: 3,
  },
  {
    op: ms("GroupQueryAttention"),
    form: "packed and turned",
    inputs: [
      small(1, 3, 64),
      null,
      null,
      null,
      null,
      { ints: [2], dtype: "i32" },
      { ints: [3], dtype: "i32", shape: [] },
      small(4, 8),
      small(4, 8),
    ],
    attributes: { num_heads: int(2), kv_num_heads: int(1), do_rotary: int(1) },
    outputs: 3,
  },
  {
    op: ms("RotaryEmbedding"),
    inputs: [small(2, 3, 8), ids([2, 3], [0, 1, 2, 1, 2, 3]), small(5, 2), small(5, 2)],
  },
  {
    op: ms("RotaryEmbedding"),
    form: "first position, side by side",
    inputs: [small(2, 2, 3, 4), ids([1], [1]), small(5, 2), small(5, 2)],
    attributes: { interleaved: int(1) },
  },
];

/** Operators that differentiate by the operators they are made of. */
export const loweredCases: readonly GradientCase[] = [...recurrent, ...attention, ...fused].map((one) => ({
  ...one,
  dtype: f32,
}));
