import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { count, flag, optional, rotaryFields, rotaryOf } from "../checkpoint/config.ts";
import { sizeOfField } from "../checkpoint/size.ts";
import { decoder } from "../parts/decoder.ts";
import { gatedMlp } from "../parts/mlp.ts";
import { rmsNorm } from "../parts/norm.ts";
import { selfAttention } from "../parts/self-attention.ts";

const config = z.object({
  ...rotaryFields,
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  hidden_act: optional(z.string(), "silu"),
  rms_norm_eps: optional(z.number(), 1e-6),
  attention_bias: optional(flag, false),
  mlp_bias: optional(flag, false),
  tie_word_embeddings: optional(flag, false),
});

/** Llama 1 to 3: RMS norms, rotary positions, grouped queries, gated MLPs (arXiv 2302.13971, 2407.21783). */
export const llama = architecture({
  types: ["llama"],
  kind: "decoder",
  config,
  outline: (c, of) => {
    const width = sizeOfField("hidden_size", c.hidden_size);
    return decoder({
      vocabulary: sizeOfField("vocab_size", c.vocab_size),
      width,
      positions: c.max_position_embeddings,
      layers: c.num_hidden_layers,
      tied: c.tie_word_embeddings,
      norm: (root, x) => rmsNorm(root.at("model.norm"), x, width, c.rms_norm_eps),
      block: (site, frame, x, block) => {
        const own = of(block);
        const size = own.head_dim ?? own.hidden_size / own.num_attention_heads;
        const norm = (name: string, value: string) => rmsNorm(site.at(name), value, width, c.rms_norm_eps);
        const attended = selfAttention(site.at("self_attn"), frame, norm("input_layernorm", x), {
          ...{ block, width, size },
          heads: sizeOfField("num_attention_heads", own.num_attention_heads),
          kvHeads: sizeOfField("num_key_value_heads", own.num_key_value_heads ?? own.num_attention_heads),
          bias: c.attention_bias,
          reach: { causal: true },
          rotary: rotaryOf(c, size),
        });
        const h = site.add(x, attended);
        const made = gatedMlp(site.at("mlp"), norm("post_attention_layernorm", h), {
          width,
          inner: sizeOfField("intermediate_size", own.intermediate_size),
          activation: c.hidden_act,
          bias: c.mlp_bias,
        });
        return site.add(h, made);
      },
    });
  },
});
