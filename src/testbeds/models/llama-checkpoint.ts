import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { byteLengthOf, type FloatType } from "../../tensor/dtype.ts";
import { fromFloats } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type Shape, sizeOf, type TensorRef } from "../../tensor/tensor.ts";

/** Sizes of a Llama. Heads of the keys and values may be fewer than those of the queries. */
export interface LlamaSizes {
  readonly vocabulary: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  /** Width of the gated MLP. */
  readonly inner: number;
  readonly positions?: number;
  /** The head is the table of the embedding. */
  readonly tied?: boolean;
}

/**
 * A checkpoint of a Llama that knows nothing: weights are drawn, each time that they are read, so that any size fits in
 * memory. Output features of matrices have sizes of their own, so that channels differ as those of trained models do.
 */
export function llamaCheckpoint(sizes: LlamaSizes, dtype: FloatType = "bf16", seed = 0): Checkpoint {
  const { vocabulary, width, layers, heads, kvHeads, inner, positions = 2048, tied = false } = sizes;
  const tensors = new Map<string, TensorRef>();
  const matrix = (name: string, rows: number, columns: number): void => {
    tensors.set(`${name}.weight`, drawn(dtype, [rows, columns], columns ** -0.5, seed, name));
  };
  const gain = (name: string): void => {
    tensors.set(`${name}.weight`, drawn(dtype, [width], 0, seed, name));
  };
  const size = width / heads;
  matrix("model.embed_tokens", vocabulary, width);
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`;
    gain(`${at}.input_layernorm`);
    matrix(`${at}.self_attn.q_proj`, width, width);
    matrix(`${at}.self_attn.k_proj`, kvHeads * size, width);
    matrix(`${at}.self_attn.v_proj`, kvHeads * size, width);
    matrix(`${at}.self_attn.o_proj`, width, width);
    gain(`${at}.post_attention_layernorm`);
    matrix(`${at}.mlp.gate_proj`, inner, width);
    matrix(`${at}.mlp.up_proj`, inner, width);
    matrix(`${at}.mlp.down_proj`, width, inner);
  }
  gain("model.norm");
  if (!tied) matrix("lm_head", vocabulary, width);
  const config = {
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    vocab_size: vocabulary,
    hidden_size: width,
    intermediate_size: inner,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    max_position_embeddings: positions,
    rms_norm_eps: 1e-5,
    hidden_act: "silu",
    tie_word_embeddings: tied,
  };
  const shardOf = new Map([...tensors.keys()].map((name) => [name, "model.safetensors"]));
  return { name: "llama", config, tensors, shardOf, metadata: new Map([["format", "pt"]]), files: new Map() };
}

/** A tensor that is drawn anew each time: rows of normal numbers, each row with a size of its own; a vector of ones. */
function drawn(dtype: FloatType, shape: Shape, sd: number, seed: number, name: string): TensorRef {
  const by = async (): Promise<Uint8Array> => {
    const [rows = 1, columns = 1] = shape;
    if (shape.length === 1) return fromFloats(dtype, shape, new Float32Array(rows).fill(1)).bytes;
    const source = random(seed, "llama", name);
    const bytes = new Uint8Array(byteLengthOf(dtype, sizeOf(shape)));
    const row = new Float32Array(columns);
    for (let r = 0; r < rows; r++) {
      source.fillNormal(row, 0, sd * Math.exp(0.5 * source.normal()));
      bytes.set(fromFloats(dtype, [columns], row).bytes, r * byteLengthOf(dtype, columns));
    }
    return bytes;
  };
  const from: TensorRef = { dtype, shape };
  return { dtype, shape, made: { from, by } };
}
