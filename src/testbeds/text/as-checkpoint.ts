import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import type { Graph } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { load, refOf, type TensorRef } from "../../tensor/tensor.ts";
import type { LlamaConfig } from "../models/llama.ts";

/** A graph of `llama` as a checkpoint in bfloat16, under the names and in the layout that loaders of Llama expect. */
export async function asCheckpoint(name: string, graph: Graph, config: LlamaConfig): Promise<Checkpoint> {
  const { vocabulary, width, layers, heads, kvHeads, inner, time, epsilon = 1e-5, theta = 10_000 } = config;
  const tensors = new Map<string, TensorRef>();
  const put = async (from: string, to: string, turned: boolean): Promise<void> => {
    const ref = graph.constants.get(from);
    if (ref === undefined) throw new EspalierError("model", name, `expected a parameter "${from}", got none.`);
    const values = toFloat32(await load(ref));
    const [rows = 1, columns = 1] = ref.shape;
    const [shape, data] = turned ? [[columns, rows], transposed(values, rows, columns)] : [ref.shape, values];
    tensors.set(to, refOf(fromFloats("bf16", shape, data)));
  };
  await put("embed.weight", "model.embed_tokens.weight", false);
  for (let i = 0; i < layers; i++) {
    const [from, to] = [`layers.${i}`, `model.layers.${i}`];
    await put(`${from}.norm1.weight`, `${to}.input_layernorm.weight`, false);
    for (const part of ["q", "k", "v", "o"]) {
      await put(`${from}.attention.${part}`, `${to}.self_attn.${part}_proj.weight`, true);
    }
    await put(`${from}.norm2.weight`, `${to}.post_attention_layernorm.weight`, false);
    for (const part of ["gate", "up", "down"]) await put(`${from}.mlp.${part}`, `${to}.mlp.${part}_proj.weight`, true);
  }
  await put("norm.weight", "model.norm.weight", false);
  return {
    name,
    config: {
      architectures: ["LlamaForCausalLM"],
      model_type: "llama",
      attention_bias: false,
      bos_token_id: 0,
      eos_token_id: 0,
      head_dim: width / heads,
      hidden_act: "silu",
      hidden_size: width,
      initializer_range: 0.02,
      intermediate_size: inner,
      max_position_embeddings: time,
      mlp_bias: false,
      num_attention_heads: heads,
      num_hidden_layers: layers,
      num_key_value_heads: kvHeads,
      rms_norm_eps: epsilon,
      rope_theta: theta,
      tie_word_embeddings: true,
      torch_dtype: "bfloat16",
      vocab_size: vocabulary,
    },
    tensors,
    shardOf: new Map([...tensors.keys()].map((tensor) => [tensor, "model.safetensors"])),
    metadata: new Map([["format", "pt"]]),
    files: new Map(),
  };
}

function transposed(values: Float32Array, rows: number, columns: number): Float32Array {
  const out = new Float32Array(values.length);
  for (let r = 0; r < rows; r++) {
    for (let c = 0; c < columns; c++) out[c * rows + r] = values[r * columns + c] ?? 0;
  }
  return out;
}
