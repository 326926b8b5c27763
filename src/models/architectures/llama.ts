import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { flag, optional } from "../checkpoint/config.ts";
import { sizeOfField } from "../checkpoint/size.ts";
import { gatedMlp } from "../parts/mlp.ts";
import { rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";

const config = z.object({ ...rmsDecoderFields, mlp_bias: optional(flag, false) });

/** Llama 1 to 3: RMS norms, rotary positions, grouped queries, gated MLPs (arXiv 2302.13971, 2407.21783). */
export const llama = architecture({
  types: ["llama"],
  kind: "decoder",
  config,
  outline: (c, of) =>
    rmsDecoder(c, of, {
      mlp: (site, x, own, _, width) =>
        gatedMlp(site.at("mlp"), x, {
          width,
          inner: sizeOfField("intermediate_size", own.intermediate_size),
          activation: c.hidden_act,
          bias: c.mlp_bias,
        }),
    }),
});
