import * as z from "zod";
import { architecture } from "../checkpoint/architecture.ts";
import { reachOf, rmsDecoder, rmsDecoderFields } from "../parts/rms-decoder.ts";

/** Mistral: Llama with a window on every block where the config has one (arXiv 2310.06825). */
export const mistral = architecture({
  types: ["mistral"],
  kind: "decoder",
  config: z.object(rmsDecoderFields),
  outline: (c, of) => rmsDecoder(c, of, { attention: () => ({ reach: reachOf(c, true), bias: false }) }),
});
