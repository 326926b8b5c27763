import * as z from "zod";
import type { Json } from "../../formats/checkpoint/json.ts";
import { EspalierError } from "../../tensor/error.ts";
import { architecture } from "../checkpoint/architecture.ts";
import { blockCount, count, flag, optional } from "../checkpoint/config.ts";
import { plus, sizeOfField } from "../checkpoint/size.ts";
import { activate } from "../parts/activation.ts";
import { attend } from "../parts/attention.ts";
import { decoder } from "../parts/decoder.ts";
import { embedding, linear, split } from "../parts/linear.ts";
import { layerNorm } from "../parts/norm.ts";

const config = z.object({
  vocab_size: count,
  n_positions: optional(count, 1024),
  n_embd: count,
  n_layer: blockCount,
  n_head: count,
  n_inner: count.nullish(),
  activation_function: optional(z.string(), "gelu_new"),
  layer_norm_epsilon: optional(z.number(), 1e-5),
  scale_attn_weights: optional(flag, true),
  scale_attn_by_inverse_layer_idx: optional(flag, false),
  tie_word_embeddings: optional(flag, true),
});

/** GPT-2: learned positions, layer norms before, matrices that lie as [inputs, outputs]. */
export const gpt2 = architecture({
  types: ["gpt2"],
  kind: "decoder",
  config,
  outline: (c, of, has) => {
    // Files that hold a bare model have no prefix.
    const at = has("wte.weight") ? "" : "transformer.";
    const width = sizeOfField("n_embd", c.n_embd);
    const positions = sizeOfField("n_positions", c.n_positions);
    const epsilon = c.layer_norm_epsilon;
    return decoder({
      vocabulary: sizeOfField("vocab_size", c.vocab_size),
      width,
      positions: c.n_positions,
      layers: c.n_layer,
      blockCount: "n_layer",
      tied: c.tie_word_embeddings,
      renumbered: (kept) => renumbered(c.scale_attn_by_inverse_layer_idx, kept),
      names: { embedding: `${at}wte`, blocks: `${at}h` },
      embedded: (root, frame, x) => root.add(x, embedding(root.at(`${at}wpe`), frame.positions, positions, width)),
      norm: (root, x) => layerNorm(root.at(`${at}ln_f`), x, width, epsilon),
      block: (site, frame, x, block) => {
        const own = of(block);
        const size = c.n_embd / c.n_head;
        const inputs = { inputs: width, bias: true, transposed: true };
        const fused = { ...inputs, outputs: plus(width, width, width) };
        const all = linear(site.at("attn.c_attn"), layerNorm(site.at("ln_1"), x, width, epsilon), fused);
        const [query, key, value] = split(site, all, [c.n_embd, c.n_embd, c.n_embd]);
        const mixed = attend(
          site,
          frame,
          { query, key, value },
          {
            ...{ block, heads: c.n_head, kvHeads: c.n_head, size, reach: { causal: true } },
            scale: (c.scale_attn_weights ? size ** -0.5 : 1) / (c.scale_attn_by_inverse_layer_idx ? block + 1 : 1),
          },
        );
        const h = site.add(x, linear(site.at("attn.c_proj"), mixed, { ...inputs, outputs: width }));
        const inner = sizeOfField("n_inner", own.n_inner ?? 4 * c.n_embd);
        const wide = linear(site.at("mlp.c_fc"), layerNorm(site.at("ln_2"), h, width, epsilon), {
          ...inputs,
          outputs: inner,
        });
        const active = activate(site, wide, c.activation_function);
        return site.add(h, linear(site.at("mlp.c_proj"), active, { ...inputs, inputs: inner, outputs: width }));
      },
    });
  },
});

/** Where attention is scaled by the number of its block, only the first blocks can be left. */
function renumbered(byNumber: boolean, kept: readonly number[]): Json {
  if (!byNumber || kept.every((block, i) => block === i)) return {};
  const message = `expected the first blocks, since attention is scaled by their numbers, got [${kept.join(", ")}].`;
  throw new EspalierError("request", "scale_attn_by_inverse_layer_idx", message);
}
