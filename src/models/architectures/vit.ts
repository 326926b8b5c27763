import * as z from "zod";
import { int, ints } from "../../graph/attributes.ts";
import { architecture } from "../checkpoint/architecture.ts";
import { blockCount, count, flag, optional } from "../checkpoint/config.ts";
import { fixedSize, sizeOfField } from "../checkpoint/size.ts";
import { encoderBlock } from "../parts/encoder-block.ts";
import { layerNorm } from "../parts/norm.ts";

const config = z.object({
  hidden_size: count,
  num_hidden_layers: blockCount,
  num_attention_heads: count,
  intermediate_size: count,
  image_size: optional(count, 224),
  patch_size: optional(count, 16),
  num_channels: optional(count, 3),
  layer_norm_eps: optional(z.number(), 1e-12),
  hidden_act: optional(z.string(), "gelu"),
  qkv_bias: optional(flag, true),
});

/** Vision transformer (arXiv 2010.11929): patches of a picture behind a token of their own. */
export const vit = architecture({
  types: ["vit"],
  kind: "vision",
  config,
  outline: (c, of, has) => {
    const at = has("embeddings.cls_token") ? "" : "vit.";
    const width = sizeOfField("hidden_size", c.hidden_size);
    const patches = Math.floor(c.image_size / c.patch_size) ** 2;
    return {
      width: c.hidden_size,
      vocabulary: 0,
      positions: patches + 1,
      picture: { channels: c.num_channels, size: c.image_size },
      blockCount: "num_hidden_layers",
      tied: new Map(),
      explicit: {},
      embed: (root, _, pixels) => {
        const { draft } = root;
        const site = root.at(`${at}embeddings`);
        const kernel = site.at("patch_embeddings.projection");
        const side = fixedSize(c.patch_size);
        const made = draft.op(
          "Conv",
          [
            pixels,
            kernel.parameter("weight", [width, sizeOfField("num_channels", c.num_channels), side, side]),
            kernel.parameter("bias", [width]),
          ],
          { strides: ints([c.patch_size, c.patch_size]), kernel_shape: ints([c.patch_size, c.patch_size]) },
        );
        const rows = site.transpose(site.reshape(made, [0, c.hidden_size, -1]), [0, 2, 1]);
        const batch = site.sizes(pixels, 0, 1);
        const shape = draft.op("Concat", [batch, site.int64([1, 1])], { axis: int(0) });
        const first = draft.op("Expand", [site.parameter("cls_token", [fixedSize(1), fixedSize(1), width]), shape]);
        const all = draft.op("Concat", [first, rows], { axis: int(1) });
        return site.add(all, site.parameter("position_embeddings", [fixedSize(1), fixedSize(patches + 1), width]));
      },
      blocks: Array.from({ length: c.num_hidden_layers }, (_, block) => ({
        path: `${at}encoder.layer.${block}`,
        write: (root, frame, x) =>
          encoderBlock(root.at(`${at}encoder.layer`).at(block), frame, x, {
            ...{ block, width, heads: c.num_attention_heads, norms: "before", bias: c.qkv_bias },
            inner: sizeOfField("intermediate_size", of(block).intermediate_size),
            activation: c.hidden_act,
            epsilon: c.layer_norm_eps,
            names: {
              attention: "attention.attention",
              attentionNorm: "layernorm_before",
              mlpNorm: "layernorm_after",
            },
          }),
      })),
      head: (root, _, x) => layerNorm(root.at(`${at}layernorm`), x, width, c.layer_norm_eps),
    };
  },
});
