import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { blockCount, count, flag, optional } from "../checkpoint/config.ts";
import { fixedSize, plus, sizeOfField } from "../checkpoint/size.ts";
import { activate } from "../parts/activation.ts";
import { decoder } from "../parts/decoder.ts";
import { embedding, linear } from "../parts/linear.ts";
import { layerNorm } from "../parts/norm.ts";
import { selfAttention } from "../parts/self-attention.ts";

const config = z.object({
  vocab_size: count,
  hidden_size: count,
  num_hidden_layers: blockCount,
  num_attention_heads: count,
  ffn_dim: count,
  max_position_embeddings: optional(count, 2048),
  word_embed_proj_dim: count.nullish(),
  do_layer_norm_before: optional(flag, true),
  _remove_final_layer_norm: optional(flag, false),
  activation_function: optional(z.string(), "relu"),
  enable_bias: optional(flag, true),
  layer_norm_elementwise_affine: optional(z.literal(true), true),
  tie_word_embeddings: optional(flag, true),
});

/** Learned positions begin behind two rows that nothing reads. */
const unusedRows = 2;

/** OPT (arXiv 2205.01068): learned positions, layer norms before, or after in the one of 350 million parameters. */
export const opt = architecture({
  types: ["opt"],
  kind: "decoder",
  config,
  outline: (c, of, has) => {
    const at = has("decoder.embed_tokens.weight") ? "decoder" : "model.decoder";
    const width = sizeOfField("hidden_size", c.hidden_size);
    const narrow = c.word_embed_proj_dim ?? c.hidden_size;
    const projected = narrow !== c.hidden_size;
    const tableWidth = projected ? sizeOfField("word_embed_proj_dim", narrow) : width;
    const before = c.do_layer_norm_before;
    const rows = plus(sizeOfField("max_position_embeddings", c.max_position_embeddings), fixedSize(unusedRows));
    return decoder({
      vocabulary: sizeOfField("vocab_size", c.vocab_size),
      width,
      tableWidth,
      positions: c.max_position_embeddings,
      layers: c.num_hidden_layers,
      tied: c.tie_word_embeddings,
      names: { embedding: `${at}.embed_tokens`, blocks: `${at}.layers` },
      embedded: (root, frame, x) => {
        const wide = projected ? linear(root.at(`${at}.project_in`), x, { inputs: tableWidth, outputs: width }) : x;
        const places = root.add(frame.positions, root.int64([unusedRows], []));
        return root.add(wide, embedding(root.at(`${at}.embed_positions`), places, rows, width));
      },
      norm: (root, x) => {
        const last = before && !c._remove_final_layer_norm;
        const normed = last ? layerNorm(root.at(`${at}.final_layer_norm`), x, width, 1e-5) : x;
        return projected
          ? linear(root.at(`${at}.project_out`), normed, { inputs: width, outputs: tableWidth })
          : normed;
      },
      block: (site, frame, x, block) => {
        const own = of(block);
        const norm = (name: string, y: string): string => layerNorm(site.at(name), y, width, 1e-5);
        const bias = c.enable_bias;
        // A head is as wide as the hidden state over the heads: their number is no size of its own.
        const heads = {
          value: c.num_attention_heads,
          terms: [{ field: "hidden_size", value: c.hidden_size, times: c.num_attention_heads / c.hidden_size }],
        };
        const attended = selfAttention(site.at("self_attn"), frame, before ? norm("self_attn_layer_norm", x) : x, {
          ...{ block, width, heads, kvHeads: heads, bias },
          size: c.hidden_size / c.num_attention_heads,
          reach: { causal: true },
          names: { query: "q_proj", key: "k_proj", value: "v_proj", output: "out_proj" },
        });
        const sum = site.add(x, attended);
        const h = before ? sum : norm("self_attn_layer_norm", sum);
        const inner = sizeOfField("ffn_dim", own.ffn_dim);
        const wide = linear(site.at("fc1"), before ? norm("final_layer_norm", h) : h, {
          inputs: width,
          outputs: inner,
          bias,
        });
        const made = linear(site.at("fc2"), activate(site, wide, c.activation_function), {
          inputs: inner,
          outputs: width,
          bias,
        });
        const last = site.add(h, made);
        return before ? last : norm("final_layer_norm", last);
      },
    });
  },
});
