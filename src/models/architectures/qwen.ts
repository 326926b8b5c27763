import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { count, flag, optional } from "../checkpoint/config.ts";
import { reachOf, rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";

/** Windows of Qwen: from a block on, and only where they are asked for. */
export const qwenFields = {
  ...rmsDecoderFields,
  use_sliding_window: optional(flag, false),
  max_window_layers: optional(count.or(z.literal(0)), 28),
};

const config = z.object(qwenFields);

/** What a block of Qwen sees. */
export function qwenReach(c: z.output<typeof config>, block: number): { causal: true; window?: number } {
  const kind = c.layer_types?.[block];
  const slides = kind === undefined ? block >= c.max_window_layers : kind === "sliding_attention";
  return reachOf(c, c.use_sliding_window && slides);
}

/** The windows of what is left of blocks. */
export function renumberedReach({ max_window_layers }: z.output<typeof config>, kept: readonly number[]) {
  return { max_window_layers: kept.filter((block) => block < max_window_layers).length };
}

/** Qwen 2 and 2.5: Llama with biases on queries, keys and values (arXiv 2407.10671). */
export const qwen2 = architecture({
  types: ["qwen2"],
  kind: "decoder",
  config,
  outline: (c, of) =>
    rmsDecoder(c, of, {
      renumbered: (kept) => renumberedReach(c, kept),
      attention: (_, block) => ({ bias: true, outputBias: false, reach: qwenReach(c, block) }),
    }),
});

/** Qwen 3: no biases, norms of queries and keys in each head (arXiv 2505.09388). */
export const qwen3 = architecture({
  types: ["qwen3"],
  kind: "decoder",
  config,
  outline: (c, of) =>
    rmsDecoder(c, of, {
      headSize: (own) => own.head_dim ?? 128,
      queryKeyNorms: "each head",
      renumbered: (kept) => renumberedReach(c, kept),
      attention: (_, block) => ({ reach: qwenReach(c, block) }),
    }),
});
