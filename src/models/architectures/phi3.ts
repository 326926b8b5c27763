import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { rotaryOf } from "../checkpoint/config.ts";
import { plus, sizeOfField, times } from "../checkpoint/size.ts";
import { activate } from "../parts/activation.ts";
import { attend } from "../parts/attention.ts";
import { linear, split } from "../parts/linear.ts";
import { headSizeOf, reachOf, rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";

/** Phi-3 and Phi-4 (arXiv 2404.14219): Llama with one matrix for queries, keys and values, and one for gate and up. */
export const phi3 = architecture({
  types: ["phi3"],
  kind: "decoder",
  config: z.object(rmsDecoderFields),
  outline: (c, of) => {
    const width = sizeOfField("hidden_size", c.hidden_size);
    return rmsDecoder(c, of, {
      attend: (block, frame, x, own, index) => {
        const site = block.at("self_attn");
        const size = headSizeOf(own);
        const heads = sizeOfField("num_attention_heads", own.num_attention_heads);
        const kvHeads = sizeOfField("num_key_value_heads", own.num_key_value_heads ?? own.num_attention_heads);
        const [queries, keys] = [times(heads, size), times(kvHeads, size)];
        const all = linear(site.at("qkv_proj"), x, { inputs: width, outputs: plus(queries, keys, keys) });
        const [query, key, value] = split(site, all, [queries.value, keys.value, keys.value]);
        const mixed = attend(
          site,
          frame,
          { query, key, value },
          {
            ...{ block: index, heads: heads.value, kvHeads: kvHeads.value, size },
            reach: reachOf(c, true),
            rotary: rotaryOf(c, size),
          },
        );
        return linear(site.at("o_proj"), mixed, { inputs: queries, outputs: width });
      },
      mlp: (block, x, own) => {
        const site = block.at("mlp");
        const inner = sizeOfField("intermediate_size", own.intermediate_size);
        const both = linear(site.at("gate_up_proj"), x, { inputs: width, outputs: times(inner, 2) });
        const [gate, up] = split(site, both, [inner.value, inner.value]);
        const product = site.draft.op("Mul", [activate(site, gate, c.hidden_act), up]);
        return linear(site.at("down_proj"), product, { inputs: inner, outputs: width });
      },
    });
  },
});
