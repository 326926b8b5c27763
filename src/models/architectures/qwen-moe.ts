import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { count, flag, optional } from "../checkpoint/config.ts";
import type { Site } from "../checkpoint/site.ts";
import { fixedSize, type Size, sizeOfField } from "../checkpoint/size.ts";
import { expertCount, expertCountFields, mixture, route } from "../parts/experts.ts";
import { linear } from "../parts/linear.ts";
import { gatedMlp } from "../parts/mlp.ts";
import { rmsDecoder } from "../parts/rms-decoder.ts";
import { qwenFields, qwenReach, renumberedReach } from "./qwen.ts";

const fields = {
  ...qwenFields,
  ...expertCountFields,
  num_experts_per_tok: count,
  moe_intermediate_size: count,
  norm_topk_prob: optional(flag, false),
  decoder_sparse_step: optional(count, 1),
  mlp_only_layers: optional(z.array(z.int()), []),
};

const config = z.object(fields);
type Config = z.output<typeof config>;

const qwen2Config = z.object({
  ...fields,
  shared_expert_intermediate_size: count,
  qkv_bias: optional(flag, true),
});

/** The MLP of a block: dense in some, experts in the others. */
function experts(block: Site, x: string, own: Config, index: number, width: Size): string {
  const site = block.at("mlp");
  const activation = own.hidden_act;
  if (!isSparse(own, index)) {
    return gatedMlp(site, x, { width, inner: sizeOfField("intermediate_size", own.intermediate_size), activation });
  }
  const routed = route(site.at("gate"), x, {
    width,
    experts: expertCount(own).size,
    top: own.num_experts_per_tok,
    scores: "softmax",
    normalise: own.norm_topk_prob,
  });
  const expert = { width, inner: sizeOfField("moe_intermediate_size", own.moe_intermediate_size), activation };
  return mixture(site, routed, expertCount(own).size.value, (i) => gatedMlp(site.at("experts").at(i), x, expert));
}

const where = (c: Config) => ({ path: "mlp.experts", field: expertCount(c).field });

function isSparse(c: Config, block: number): boolean {
  return !c.mlp_only_layers.includes(block) && (block + 1) % c.decoder_sparse_step === 0;
}

function renumbered(c: Config, kept: readonly number[]) {
  const dense = kept.flatMap((block, i) => (isSparse(c, block) ? [] : [i]));
  return { ...renumberedReach(c, kept), decoder_sparse_step: 1, mlp_only_layers: dense };
}

/** Mixtures of Qwen 1.5 and 2 (arXiv 2407.10671): experts beside one that all tokens share, behind a gate of its own. */
export const qwen2Moe = architecture({
  types: ["qwen2_moe"],
  kind: "decoder",
  config: qwen2Config,
  outline: (c, of) =>
    rmsDecoder(c, of, {
      renumbered: (kept) => renumbered(c, kept),
      attention: (_, block) => ({ bias: c.qkv_bias, outputBias: false, reach: qwenReach(c, block) }),
      experts: (block) => (isSparse(of(block), block) ? where(c) : undefined),
      mlp: (block, x, own, index, width) => {
        const routed = experts(block, x, own, index, width);
        if (!isSparse(own, index)) return routed;
        const site = block.at("mlp");
        const gate = linear(site.at("shared_expert_gate"), x, { inputs: width, outputs: fixedSize(1) });
        const inner = sizeOfField("shared_expert_intermediate_size", own.shared_expert_intermediate_size);
        const shared = gatedMlp(site.at("shared_expert"), x, { width, inner, activation: own.hidden_act });
        return site.add(routed, site.draft.op("Mul", [shared, site.draft.op("Sigmoid", [gate])]));
      },
    }),
});

/** Mixtures of Qwen 3 (arXiv 2505.09388). */
export const qwen3Moe = architecture({
  types: ["qwen3_moe"],
  kind: "decoder",
  config,
  outline: (c, of) =>
    rmsDecoder(c, of, {
      queryKeyNorms: "each head",
      renumbered: (kept) => renumbered(c, kept),
      attention: (_, block) => ({ reach: qwenReach(c, block) }),
      experts: (block) => (isSparse(of(block), block) ? where(c) : undefined),
      mlp: experts,
    }),
});
