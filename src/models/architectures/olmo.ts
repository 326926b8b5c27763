import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { count, flag, optional } from "../checkpoint/config.ts";
import { sizeOfField } from "../checkpoint/size.ts";
import { expertCount, expertCountFields, mixture, route } from "../parts/experts.ts";
import { gatedMlp } from "../parts/mlp.ts";
import { rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";

const fields = { ...rmsDecoderFields, rms_norm_eps: optional(z.number(), 1e-5) };

/** OLMo 2 (arXiv 2501.00656): norms behind attention and MLP, and over all heads of queries and keys. */
export const olmo2 = architecture({
  types: ["olmo2"],
  kind: "decoder",
  config: z.object(fields),
  outline: (c, of) =>
    rmsDecoder(c, of, {
      norms: { afterAttention: "post_attention_layernorm", afterMlp: "post_feedforward_layernorm" },
      queryKeyNorms: "all heads",
    }),
});

const olmoeConfig = z.object({
  ...fields,
  ...expertCountFields,
  num_experts_per_tok: optional(count, 8),
  norm_topk_prob: optional(flag, false),
  clip_qkv: z.null().optional(),
});

/** OLMoE (arXiv 2409.02060): experts in every block, norms over all heads of queries and keys. */
export const olmoe = architecture({
  types: ["olmoe"],
  kind: "decoder",
  config: olmoeConfig,
  outline: (c, of) =>
    rmsDecoder(c, of, {
      queryKeyNorms: "all heads",
      experts: () => ({ path: "mlp.experts", field: expertCount(c).field }),
      mlp: (block, x, own, _, width) => {
        const site = block.at("mlp");
        const routed = route(site.at("gate"), x, {
          width,
          experts: expertCount(own).size,
          top: own.num_experts_per_tok,
          scores: "softmax",
          normalise: c.norm_topk_prob,
        });
        const inner = sizeOfField("intermediate_size", own.intermediate_size);
        const expert = { width, inner, activation: c.hidden_act };
        return mixture(site, routed, expertCount(own).size.value, (i) => gatedMlp(site.at("experts").at(i), x, expert));
      },
    }),
});
