import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { blockCount, count, flag, optional, rotaryFields, rotaryOf } from "../checkpoint/config.ts";
import { sizeOfField, times } from "../checkpoint/size.ts";
import { activate } from "../parts/activation.ts";
import { attend } from "../parts/attention.ts";
import { decoder } from "../parts/decoder.ts";
import { linear, split } from "../parts/linear.ts";
import { layerNorm } from "../parts/norm.ts";

const config = z.object({
  ...rotaryFields,
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: blockCount,
  num_attention_heads: count,
  rotary_pct: optional(z.number().positive().max(1), 0.25),
  rotary_emb_base: optional(z.number().positive(), 10_000),
  layer_norm_eps: optional(z.number(), 1e-5),
  use_parallel_residual: optional(flag, true),
  hidden_act: optional(z.string(), "gelu"),
  attention_bias: optional(flag, true),
  tie_word_embeddings: optional(flag, false),
});

/** GPT-NeoX and Pythia (arXiv 2204.06745): attention and MLP side by side, positions on a part of each head. */
export const gptNeox = architecture({
  types: ["gpt_neox"],
  kind: "decoder",
  config,
  outline: (c, of, has) => {
    const at = has("embed_in.weight") ? "" : "gpt_neox.";
    const width = sizeOfField("hidden_size", c.hidden_size);
    const epsilon = c.layer_norm_eps;
    const heads = c.num_attention_heads;
    const size = c.hidden_size / heads;
    return decoder({
      vocabulary: sizeOfField("vocab_size", c.vocab_size),
      width,
      positions: c.max_position_embeddings,
      layers: c.num_hidden_layers,
      tied: c.tie_word_embeddings,
      names: { embedding: `${at}embed_in`, blocks: `${at}layers`, head: "embed_out" },
      norm: (root, x) => layerNorm(root.at(`${at}final_layer_norm`), x, width, epsilon),
      block: (site, frame, x, block) => {
        const own = of(block);
        const bias = c.attention_bias;
        const fused = { inputs: width, outputs: times(width, 3), bias };
        const normed = layerNorm(site.at("input_layernorm"), x, width, epsilon);
        const all = linear(site.at("attention.query_key_value"), normed, fused);
        // Rows lie head by head, of each its query, key and value.
        const apart = split(site, site.reshape(all, [0, 0, heads, 3 * size]), [size, size, size]);
        const [query, key, value] = apart.map((y) => site.reshape(y, [0, 0, heads * size]));
        const projected = { query: query ?? "", key: key ?? "", value: value ?? "" };
        const mixed = attend(site, frame, projected, {
          ...{ block, heads, kvHeads: heads, size, reach: { causal: true } },
          rotary: rotaryOf(c, size, { theta: c.rotary_emb_base, share: c.rotary_pct }),
        });
        const attended = linear(site.at("attention.dense"), mixed, { inputs: width, outputs: width, bias });
        const sum = site.add(x, attended);
        const inner = sizeOfField("intermediate_size", own.intermediate_size);
        const read = layerNorm(site.at("post_attention_layernorm"), c.use_parallel_residual ? x : sum, width, epsilon);
        const wide = linear(site.at("mlp.dense_h_to_4h"), read, { inputs: width, outputs: inner, bias: true });
        const active = activate(site, wide, c.hidden_act);
        return site.add(
          sum,
          linear(site.at("mlp.dense_4h_to_h"), active, { inputs: inner, outputs: width, bias: true }),
        );
      },
    });
  },
});
