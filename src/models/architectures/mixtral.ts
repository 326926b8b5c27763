import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { count, optional } from "../checkpoint/config.ts";
import { sizeOfField } from "../checkpoint/size.ts";
import { expertCount, expertCountFields, mixture, route } from "../parts/experts.ts";
import { gatedMlp } from "../parts/mlp.ts";
import { reachOf, rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";

const config = z.object({
  ...rmsDecoderFields,
  rms_norm_eps: optional(z.number(), 1e-5),
  ...expertCountFields,
  num_experts_per_tok: optional(count, 2),
});

/** Mixtral (arXiv 2401.04088): Mistral with experts, of which each token gets a few. */
export const mixtral = architecture({
  types: ["mixtral"],
  kind: "decoder",
  config,
  outline: (c, of) =>
    rmsDecoder(c, of, {
      attention: () => ({ reach: reachOf(c, true), bias: false }),
      experts: () => ({ path: "block_sparse_moe.experts", field: expertCount(c).field }),
      mlp: (block, x, own, _, width) => {
        const site = block.at("block_sparse_moe");
        const routed = route(site.at("gate"), x, {
          width,
          experts: expertCount(own).size,
          top: own.num_experts_per_tok,
          scores: "softmax",
          normalise: true,
        });
        const inner = sizeOfField("intermediate_size", own.intermediate_size);
        const expert = { width, inner, activation: c.hidden_act };
        const names = { gate: "w1", up: "w3", down: "w2" };
        return mixture(site, routed, expertCount(own).size.value, (i) =>
          gatedMlp(site.at("experts").at(i), x, expert, names),
        );
      },
    }),
});
