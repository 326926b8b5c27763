import * as z from "zod";
import { EspalierError } from "../../tensor/error.ts";
import type { Experts, Outline } from "../checkpoint/architecture.ts";
import { blockCount, count, countOrNone, flag, optional, rotaryFields, rotaryOf } from "../checkpoint/config.ts";
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
  intermediate_size: countOrNone,
  num_hidden_layers: blockCount,
  num_attention_heads: countOrNone,
  num_key_value_heads: countOrNone.nullish(),
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
  /** False where heads have parts of sizes of their own, so that no head_dim is stated. */
  readonly statesHeadSize?: boolean;
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
  refuseNone(c);
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
      ...(spec.statesHeadSize === false ? {} : { head_dim: headSize(c) }),
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
      const attended = (): string => {
        const read = norm(site, norms.beforeAttention, x);
        return norm(site, norms.afterAttention, (spec.attend ?? attention)(site, frame, read, own, block));
      };
      const h = own.num_attention_heads === 0 ? x : site.branch(branches.attention, x, attended);
      const made = (): string => {
        const read = norm(site, norms.beforeMlp, h);
        return norm(site, norms.afterMlp, (spec.mlp ?? mlp)(site, read, own, block, width));
      };
      if (spec.experts?.(block) !== undefined) return site.add(h, made());
      if (own.intermediate_size > 0) return site.branch(branches.mlp, h, made);
      return h === x ? site.draft.op("Identity", [x]) : h;
    },
  });
}

/** The parts of a block that can go alone; that of a mixture of experts cannot. */
const branches = {
  attention: {
    what: "attention",
    fields: ["num_attention_heads", "num_key_value_heads"],
    output: "self_attn.o_proj",
  },
  mlp: { what: "mlp", fields: ["intermediate_size"], output: "mlp.down_proj" },
};

/** Throws `format` where no block has an attention or an MLP: that some have none is said of these alone. */
function refuseNone(c: RmsDecoderConfig): void {
  for (const field of ["num_attention_heads", "num_key_value_heads", "intermediate_size"] as const) {
    if (c[field] !== 0) continue;
    const message = "expected at least 1, got 0. Blocks without are named in per_layer_config.";
    throw new EspalierError("format", `config.json: ${field}`, message);
  }
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
