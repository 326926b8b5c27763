import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { count, optional, rotaryOf } from "../checkpoint/config.ts";
import { type Norms, reachOf, rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";
import type { RotarySpec } from "../parts/rotary.ts";

const fields = {
  ...rmsDecoderFields,
  head_dim: optional(count, 256),
  hidden_activation: optional(z.string(), "gelu_pytorch_tanh"),
  max_position_embeddings: optional(count, 8192),
};

const laterFields = {
  ...fields,
  query_pre_attn_scalar: optional(z.number().positive(), 256),
  attn_logit_softcapping: z.number().positive().nullish(),
  final_logit_softcapping: z.number().positive().nullish(),
};

const laterConfig = z.object(laterFields);
const gemma3Config = z.object({
  ...laterFields,
  rope_local_base_freq: optional(z.number().positive(), 10_000),
  sliding_window_pattern: optional(count, 6),
});

type Later = z.output<typeof laterConfig>;

/** Gains are stored less 1; embeddings are √width times the rows of their table, which is the head too. */
const alike = (width: number) => ({ gainShift: 1, embeddingScale: Math.sqrt(width), tied: true });

const sandwich: Norms = {
  beforeAttention: "input_layernorm",
  afterAttention: "post_attention_layernorm",
  beforeMlp: "pre_feedforward_layernorm",
  afterMlp: "post_feedforward_layernorm",
};

/** Blocks with a window by their types, or by a rule where the config lists none. */
function slidingBlocks(c: Later, rule: (block: number) => boolean): readonly boolean[] {
  return Array.from({ length: c.num_hidden_layers }, (_, block) => {
    const kind = c.layer_types?.[block];
    return kind === undefined ? rule(block) : kind === "sliding_attention";
  });
}

function later<C extends Later>(
  c: C,
  of: (block: number) => C,
  sliding: readonly boolean[],
  more: { readonly norms?: "each head"; readonly rotary?: (slides: boolean) => RotarySpec } = {},
) {
  return rmsDecoder({ ...c, hidden_act: c.hidden_activation }, of, {
    ...alike(c.hidden_size),
    norms: sandwich,
    logitCap: c.final_logit_softcapping ?? undefined,
    ...(more.norms === undefined ? {} : { queryKeyNorms: more.norms }),
    explicit: { layer_types: sliding.map((slides) => (slides ? "sliding_attention" : "full_attention")) },
    attention: (_, block) => {
      const slides = sliding[block] === true;
      return {
        scale: c.query_pre_attn_scalar ** -0.5,
        softCap: c.attn_logit_softcapping ?? undefined,
        reach: reachOf(c, slides),
        ...(more.rotary === undefined ? {} : { rotary: more.rotary(slides) }),
      };
    },
  });
}

/** Gemma 1 (arXiv 2403.08295). */
export const gemma = architecture({
  types: ["gemma"],
  kind: "decoder",
  config: z.object(fields),
  outline: (c, of) => rmsDecoder({ ...c, hidden_act: c.hidden_activation }, of, alike(c.hidden_size)),
});

/** Gemma 2 (arXiv 2408.00118): norms before and after, soft caps, a window in every other block. */
export const gemma2 = architecture({
  types: ["gemma2"],
  kind: "decoder",
  config: laterConfig,
  outline: (c, of) =>
    later(
      c,
      of,
      slidingBlocks(c, (block) => block % 2 === 0),
    ),
});

/** Text of Gemma 3 (arXiv 2503.19786): norms of queries and keys, and rotary positions of their own in blocks with a window. */
export const gemma3 = architecture({
  types: ["gemma3_text"],
  kind: "decoder",
  config: gemma3Config,
  outline: (c, of) => {
    const sliding = slidingBlocks(c, (block) => (block + 1) % c.sliding_window_pattern !== 0);
    return later(c, of, sliding, { norms: "each head", rotary: (slides) => rotaryOfKind(c, slides) });
  },
});

function rotaryOfKind(c: z.output<typeof gemma3Config>, slides: boolean): RotarySpec {
  const byKind = z.record(z.string(), z.unknown()).nullish();
  const own = byKind.safeParse(c.rope_parameters?.[slides ? "sliding_attention" : "full_attention"]).data;
  if (own != null) return rotaryOf({ ...c, rope_parameters: own }, c.head_dim);
  if (!slides) return rotaryOf(c, c.head_dim, { theta: 1e6 });
  return rotaryOf({ ...c, rope_theta: c.rope_local_base_freq, rope_scaling: null }, c.head_dim);
}
