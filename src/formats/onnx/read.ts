import type { ByteSource } from "../../tensor/tensor.ts";
import { arrange } from "./arrange.ts";
import { decodeModel } from "./decode.ts";
import { Decoding, type Sibling } from "./decoding.ts";
import { Fields } from "./fields.ts";
import { inlineFunctions } from "./inline.ts";
import { liftConstants } from "./lift.ts";
import type { OnnxModel } from "./model.ts";
import { scan } from "./scan.ts";

/**
 * Reads an ONNX model. Weights above 16 KiB stay in the source, integers only above 1 MiB; functions are inlined,
 * Constant nodes become constants, sparse initializers become dense.
 * `sibling` opens the external data file that the model names; without it such a model is refused.
 * Throws `format` for bytes that are no ONNX model, and `model` for graphs that are not valid.
 */
export async function readOnnx(source: ByteSource, options: { readonly sibling?: Sibling } = {}): Promise<OnnxModel> {
  const spans = await scan(source);
  const decoding = new Decoding(source, options.sibling);
  const raw = decodeModel(new Fields(spans, 0, source.size), decoding);
  const graph = arrange(liftConstants(inlineFunctions(raw), decoding));
  await decoding.settle();
  return { ...raw.model, graph };
}
