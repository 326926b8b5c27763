import * as z from "zod";
import { EspalierError } from "../../tensor/error.ts";
import { architecture } from "../checkpoint/architecture.ts";
import { count, flag, optional, rotaryOf } from "../checkpoint/config.ts";
import type { Site } from "../checkpoint/site.ts";
import { type Size, sizeOfField, times } from "../checkpoint/size.ts";
import { mixture, type RouterSpec, route } from "../parts/experts.ts";
import { latentAttention } from "../parts/latent-attention.ts";
import { gatedMlp } from "../parts/mlp.ts";
import { rmsNorm } from "../parts/norm.ts";
import { rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";
import { yarnMagnitude } from "../parts/rotary-scaling.ts";

const config = z.object({
  ...rmsDecoderFields,
  moe_intermediate_size: count.nullish(),
  n_routed_experts: count.nullish(),
  n_shared_experts: count.nullish(),
  num_experts_per_tok: optional(count, 1),
  routed_scaling_factor: optional(z.number(), 1),
  norm_topk_prob: optional(flag, false),
  topk_method: z.enum(["greedy", "group_limited_greedy", "noaux_tc"]).nullish(),
  scoring_func: z.enum(["softmax", "sigmoid"]).nullish(),
  n_group: count.nullish(),
  topk_group: count.nullish(),
  first_k_dense_replace: optional(z.int().min(0), 0),
  moe_layer_freq: optional(count, 1),
  kv_lora_rank: count,
  q_lora_rank: count.nullish(),
  qk_nope_head_dim: count,
  qk_rope_head_dim: count,
  v_head_dim: count,
  rope_interleave: optional(flag, true),
});

type Config = z.output<typeof config>;
type Method = NonNullable<Config["topk_method"]>;

/** Router of a block by the names of DeepSeek's configs. */
function router(own: Config, width: Size, method: Method): RouterSpec {
  const experts = own.n_routed_experts ?? 1;
  const grouped = method !== "greedy" && (own.n_group ?? 1) > 1;
  return {
    width,
    experts: sizeOfField("n_routed_experts", experts),
    top: own.num_experts_per_tok,
    scores: own.scoring_func ?? (method === "noaux_tc" ? "sigmoid" : "softmax"),
    normalise: own.norm_topk_prob,
    floor: 1e-20,
    scale: own.routed_scaling_factor,
    correction: method === "noaux_tc",
    groups: grouped
      ? { count: own.n_group ?? 1, best: own.topk_group ?? 1, rank: method === "noaux_tc" ? "two best" : "best" }
      : undefined,
  };
}

function isSparse(c: Config, block: number): boolean {
  return c.n_routed_experts != null && block >= c.first_k_dense_replace && block % c.moe_layer_freq === 0;
}

function mlp(block: Site, x: string, own: Config, index: number, width: Size, method: Method): string {
  const site = block.at("mlp");
  const activation = own.hidden_act;
  if (!isSparse(own, index)) {
    return gatedMlp(site, x, { width, inner: sizeOfField("intermediate_size", own.intermediate_size), activation });
  }
  const inner = sizeOfField("moe_intermediate_size", own.moe_intermediate_size ?? own.intermediate_size);
  const found = route(site.at("gate"), x, router(own, width, method));
  const routed = mixture(site, found, own.n_routed_experts ?? 1, (i) =>
    gatedMlp(site.at("experts").at(i), x, { width, inner, activation }),
  );
  if (own.n_shared_experts == null) return routed;
  const shared = { width, inner: times(inner, own.n_shared_experts), activation };
  return site.add(routed, gatedMlp(site.at("shared_experts"), x, shared));
}

/** Blocks without experts come first, whatever is left. */
function renumbered(c: Config, kept: readonly number[]) {
  const dense = kept.filter((block) => !isSparse(c, block)).length;
  if (kept.slice(0, dense).every((block) => !isSparse(c, block))) {
    return { first_k_dense_replace: dense, moe_layer_freq: 1 };
  }
  const message = `expected blocks with experts behind those without, got [${kept.join(", ")}].`;
  throw new EspalierError("request", "blocks", message, "No config of this type says anything else.");
}

/** Of norms of narrow states, which released code and ports leave at their default, whatever the config says. */
const latentEpsilon = 1e-6;

const family = (type: string, usual: Method) =>
  architecture({
    types: [type],
    kind: "decoder",
    config,
    outline: (c, of) => {
      const width = sizeOfField("hidden_size", c.hidden_size);
      const method = c.topk_method ?? usual;
      const rotary = { ...rotaryOf(c, c.qk_rope_head_dim), interleaved: c.rope_interleave };
      // Scores grow with the stretch of the context, as the models were trained (their released code, not all ports).
      const magnitude = yarnMagnitude(c.rope_parameters ?? c.rope_scaling ?? null);
      const { head_dim: _, ...sizes } = c;
      return rmsDecoder(sizes, of, {
        statesHeadSize: false,
        renumbered: (kept) => renumbered(c, kept),
        experts: (block) =>
          isSparse(of(block), block) ? { path: "mlp.experts", field: "n_routed_experts" } : undefined,
        attend: (block, frame, x, own, index) =>
          latentAttention(block.at("self_attn"), frame, x, {
            ...{ block: index, width, rotary },
            heads: sizeOfField("num_attention_heads", own.num_attention_heads),
            kvHeads: sizeOfField("num_key_value_heads", own.num_key_value_heads ?? own.num_attention_heads),
            plain: own.qk_nope_head_dim,
            turning: own.qk_rope_head_dim,
            valueSize: own.v_head_dim,
            keyRank: sizeOfField("kv_lora_rank", own.kv_lora_rank),
            queryRank: own.q_lora_rank == null ? undefined : sizeOfField("q_lora_rank", own.q_lora_rank),
            scale: (own.qk_nope_head_dim + own.qk_rope_head_dim) ** -0.5 * magnitude ** 2,
            bias: c.attention_bias,
            norm: (site, y, size, maker) =>
              rmsNorm(site, y, { width: size, epsilon: latentEpsilon, maker, part: "first", from: "code" }),
          }),
        mlp: (block, x, own, index, size) => mlp(block, x, own, index, size, method),
      });
    },
  });

/** DeepSeek-V2 (arXiv 2405.04434). */
export const deepseekV2 = family("deepseek_v2", "greedy");
/** DeepSeek-V3 and R1 (arXiv 2412.19437): experts chosen by sigmoids with a correction, in the best groups. */
export const deepseekV3 = family("deepseek_v3", "noaux_tc");
