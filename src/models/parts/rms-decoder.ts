import * as z from "zod";
import type { Experts, Outline } from "../checkpoint/architecture.ts";
import { blockCount, count, flag, optional, rotaryFields, rotaryOf } from "../checkpoint/config.ts";
import type { Frame } from "../checkpoint/frame.ts";
import type { Site } from "../checkpoint/site.ts";
import { fixedSize, type Size, sizeOfField } from "../checkpoint/size.ts";
import { decoder } from "./decoder.ts";
import { gatedMlp } from "./mlp.ts";
import { rmsNorm } from "./norm.ts";
import { type SelfAttentionSpec, selfAttention } from "./self-attention.ts";

/** Fields that decoders with RMS norms, rotary positions and grouped queries share. */
export const rmsDecoderFields = {
  ...rotaryFields,
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: blockCount,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  hidden_act: optional(z.string(), "silu"),
  rms_norm_eps: optional(z.number(), 1e-6),
  attention_bias: optional(flag, false),
  tie_word_embeddings: optional(flag, false),
  /** 0 where there is none, as some writers have it. */
  sliding_window: count.or(z.literal(0)).nullish(),
  layer_types: z.array(z.string()).nullish(),
};

const shape = z.object(rmsDecoderFields);
export type RmsDecoderConfig = z.output<typeof shape>;

/** Norms around attention and MLP by their names in a block; those that are not named are not there. */
export interface Norms {
  readonly beforeAttention?: string;
  readonly afterAttention?: string;
  readonly beforeMlp?: string;
  readonly afterMlp?: string;
}

const usualNorms: Norms = { beforeAttention: "input_layernorm", beforeMlp: "post_attention_layernorm" };

type AttentionChanges = Partial<Omit<SelfAttentionSpec, "block" | "width" | "heads" | "kvHeads" | "size">>;

/** What a family does differently from Llama. */
export interface RmsDecoderSpec<C> {
  readonly norms?: Norms;
  /** Gains are stored as differences from this. */
  readonly gainShift?: number;
  /** Features of a head; default: `head_dim`, or the width over the heads. */
  readonly headSize?: (c: C) => number;
  /** Norms of queries and keys: one for the features of each head, or one over all heads. */
  readonly queryKeyNorms?: "each head" | "all heads";
  readonly attention?: (own: C, block: number) => AttentionChanges;
  /** In the place of a whole attention. */
  readonly attend?: (site: Site, frame: Frame, x: string, own: C, block: number) => string;
  readonly mlp?: (site: Site, x: string, own: C, block: number, width: Size) => string;
  /** See `DecoderSpec`. */
  readonly experts?: (block: number) => Experts | undefined;
  readonly embeddingScale?: number;
  readonly logitCap?: number | undefined;
  readonly tied?: boolean;
  readonly explicit?: Outline["explicit"];
  readonly renumbered?: Outline["renumbered"];
}

/** Features of a head as most configs state them. */
export function headSizeOf(c: RmsDecoderConfig): number {
  return c.head_dim ?? Math.floor(c.hidden_size / c.num_attention_heads);
}

/** A decoder with RMS norms, rotary positions, grouped queries and gated MLPs: Llama, and what others changed of it. */
export function rmsDecoder<C extends RmsDecoderConfig>(
  c: C,
  of: (block: number) => C,
  spec: RmsDecoderSpec<C> = {},
): Outline {
  const width = sizeOfField("hidden_size", c.hidden_size);
  const { norms = usualNorms, gainShift = 0, embeddingScale, headSize = headSizeOf } = spec;
  const norm = (site: Site, name: string | undefined, x: string, size = width, maker?: Site): string =>
    name === undefined
      ? x
      : rmsNorm(site.at(name), x, {
          width: size,
          epsilon: c.rms_norm_eps,
          shift: gainShift,
          ...(maker === undefined ? {} : { maker }),
        });
  const attention = (site: Site, frame: Frame, x: string, own: C, block: number): string => {
    const size = headSize(own);
    const inside = site.at("self_attn");
    const heads = sizeOfField("num_attention_heads", own.num_attention_heads);
    const kvHeads = sizeOfField("num_key_value_heads", own.num_key_value_heads ?? own.num_attention_heads);
    const query = (over: Size) => (q: string) => norm(inside, "q_norm", q, over, inside.at("q_proj"));
    const key = (over: Size) => (k: string) => norm(inside, "k_norm", k, over, inside.at("k_proj"));
    const each = spec.queryKeyNorms === "each head" ? fixedSize(size) : undefined;
    return selfAttention(inside, frame, x, {
      ...{ block, width, heads, kvHeads, size },
      ...(each === undefined ? {} : { normQuery: query(each), normKey: key(each) }),
      ...(spec.queryKeyNorms === "all heads" ? { normQueries: query, normKeys: key } : {}),
      bias: c.attention_bias,
      reach: reachOf(c, c.layer_types?.[block] === "sliding_attention"),
      rotary: rotaryOf(c, size),
      ...spec.attention?.(own, block),
    });
  };
  const mlp = (site: Site, x: string, own: C): string => {
    const inner = sizeOfField("intermediate_size", own.intermediate_size);
    return gatedMlp(site.at("mlp"), x, { width, inner, activation: c.hidden_act });
  };
  return decoder({
    ...{ width, vocabulary: sizeOfField("vocab_size", c.vocab_size) },
    positions: c.max_position_embeddings,
    layers: c.num_hidden_layers,
    tied: spec.tied ?? c.tie_word_embeddings,
    explicit: {
      ...(spec.attend === undefined ? { head_dim: headSize(c) } : {}),
      rms_norm_eps: c.rms_norm_eps,
      ...spec.explicit,
    },
    epsilons: { rms_norm_eps: "hidden_size" },
    logitCap: spec.logitCap,
    experts: spec.experts,
    ...(spec.renumbered === undefined ? {} : { renumbered: spec.renumbered }),
    ...(embeddingScale === undefined
      ? {}
      : {
          embedded: (root, _, x) => root.draft.op("Mul", [x, root.float(embeddingScale)]),
          fixed: { hidden_size: "embeddings are multiplied by its root" },
        }),
    norm: (root, x) => norm(root, "model.norm", x),
    block: (site, frame, x, block) => {
      const own = of(block);
      const attended = (spec.attend ?? attention)(site, frame, norm(site, norms.beforeAttention, x), own, block);
      const h = site.add(x, norm(site, norms.afterAttention, attended));
      const made = (spec.mlp ?? mlp)(site, norm(site, norms.beforeMlp, h), own, block, width);
      return site.add(h, norm(site, norms.afterMlp, made));
    },
  });
}

/** Causal, within the config's window where it slides. */
export function reachOf(
  c: Pick<RmsDecoderConfig, "sliding_window">,
  slides: boolean,
): { causal: true; window?: number } {
  return slides && c.sliding_window != null && c.sliding_window > 0
    ? { causal: true, window: c.sliding_window }
    : { causal: true };
}
