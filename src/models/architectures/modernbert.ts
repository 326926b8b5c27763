import * as z from "zod";
import type { Json } from "../../formats/checkpoint/json.ts";
import { EspalierError } from "../../tensor/error.ts";
import { architecture } from "../checkpoint/architecture.ts";
import { blockCount, count, flag, optional, rotaryFields, rotaryOf } from "../checkpoint/config.ts";
import { plus, sizeOfField, times } from "../checkpoint/size.ts";
import { activate } from "../parts/activation.ts";
import { attend } from "../parts/attention.ts";
import { embedding, linear, split } from "../parts/linear.ts";
import { layerNorm } from "../parts/norm.ts";

const config = z.object({
  ...rotaryFields,
  max_position_embeddings: optional(count, 8192),
  vocab_size: count,
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: blockCount,
  num_attention_heads: count,
  hidden_activation: optional(z.string(), "gelu"),
  norm_eps: optional(z.number(), 1e-5),
  norm_bias: optional(flag, false),
  attention_bias: optional(flag, false),
  mlp_bias: optional(flag, false),
  global_attn_every_n_layers: optional(count, 3),
  local_attention: optional(count, 128),
  global_rope_theta: optional(z.number().positive(), 160_000),
  local_rope_theta: z.number().positive().nullish(),
  layer_types: z.array(z.string()).nullish(),
});

const byKind = z.record(z.string(), z.unknown()).nullish();

/** ModernBERT (arXiv 2412.13663): rotary positions, gated MLPs, and blocks that see a window between those that see all. */
export const modernbert = architecture({
  types: ["modernbert"],
  kind: "encoder",
  config,
  outline: (c, of, has) => {
    const at = has("embeddings.tok_embeddings.weight") ? "" : "model.";
    const width = sizeOfField("hidden_size", c.hidden_size);
    const size = c.hidden_size / c.num_attention_heads;
    const near = Array.from({ length: c.num_hidden_layers }, (_, block) => {
      const kind = c.layer_types?.[block];
      return kind === undefined ? block % c.global_attn_every_n_layers !== 0 : kind === "sliding_attention";
    });
    const theta = (slides: boolean): number =>
      slides ? (c.local_rope_theta ?? c.global_rope_theta) : c.global_rope_theta;
    const rotary = (slides: boolean) => {
      const own = byKind.safeParse(c.rope_parameters?.[slides ? "sliding_attention" : "full_attention"]).data ?? null;
      return rotaryOf({ ...c, rope_parameters: own }, size, { theta: theta(slides) });
    };
    return {
      width: c.hidden_size,
      vocabulary: c.vocab_size,
      positions: c.max_position_embeddings,
      blockCount: "num_hidden_layers",
      tied: new Map(),
      tokenRows: ["decoder.weight", "decoder.bias"],
      renumbered,
      explicit: { layer_types: near.map((slides) => (slides ? "sliding_attention" : "full_attention")) },
      embed: (root, _, tokens) => {
        const site = root.at(`${at}embeddings`);
        const rows = embedding(site.at("tok_embeddings"), tokens, sizeOfField("vocab_size", c.vocab_size), width);
        return layerNorm(site.at("norm"), rows, width, c.norm_eps, c.norm_bias);
      },
      blocks: near.map((slides, block) => ({
        path: `${at}layers.${block}`,
        write: (root, frame, x) => {
          const site = root.at(`${at}layers`).at(block);
          const own = of(block);
          const norm = (name: string, y: string): string => layerNorm(site.at(name), y, width, c.norm_eps, c.norm_bias);
          // The first block reads what the embedding has normed already.
          const read = site.has("attn_norm.weight") ? norm("attn_norm", x) : x;
          const bias = c.attention_bias;
          const all = linear(site.at("attn.Wqkv"), read, { inputs: width, outputs: plus(width, width, width), bias });
          const [query, key, value] = split(site, all, [c.hidden_size, c.hidden_size, c.hidden_size]);
          const heads = c.num_attention_heads;
          const mixed = attend(
            site,
            frame,
            { query, key, value },
            {
              ...{ block, heads, kvHeads: heads, size, rotary: rotary(slides) },
              // Half of the window lies on each side, and the token itself between.
              reach: slides ? { causal: false, window: Math.floor(c.local_attention / 2) + 1 } : { causal: false },
            },
          );
          const h = site.add(x, linear(site.at("attn.Wo"), mixed, { inputs: width, outputs: width, bias }));
          const inner = sizeOfField("intermediate_size", own.intermediate_size);
          const both = linear(site.at("mlp.Wi"), norm("mlp_norm", h), {
            ...{ inputs: width, outputs: times(inner, 2), bias: c.mlp_bias },
          });
          const [up, gate] = split(site, both, [inner.value, inner.value]);
          const product = site.draft.op("Mul", [activate(site, up, c.hidden_activation), gate]);
          return site.add(h, linear(site.at("mlp.Wo"), product, { inputs: inner, outputs: width, bias: c.mlp_bias }));
        },
      })),
      head: (root, _, x) => layerNorm(root.at(`${at}final_norm`), x, width, c.norm_eps, c.norm_bias),
    };
  },
});

/** The first block has no norm in front: no other can take its place. */
function renumbered(kept: readonly number[]): Json {
  if (kept[0] === 0) return {};
  const message = `expected the first block among those that are left, got [${kept.join(", ")}].`;
  throw new EspalierError(
    "request",
    "blocks",
    message,
    "It has no norm in front, and no config gives another block none.",
  );
}
