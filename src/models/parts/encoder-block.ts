import type { Frame } from "../checkpoint/frame.ts";
import type { Site } from "../checkpoint/site.ts";
import type { Size } from "../checkpoint/size.ts";
import { activate } from "./activation.ts";
import { attend } from "./attention.ts";
import { linear } from "./linear.ts";
import { layerNorm } from "./norm.ts";

/** A block of BERT or ViT: the names of its parts, and where its norms stand. */
export interface EncoderBlockSpec {
  readonly block: number;
  readonly width: Size;
  readonly heads: number;
  readonly inner: Size;
  readonly activation: string;
  readonly epsilon: number;
  readonly bias: boolean;
  readonly names: {
    /** Followed by query, key and value. */
    readonly attention: string;
    readonly attentionNorm: string;
    readonly mlpNorm: string;
  };
  /** Norms before attention and MLP, or behind the sums. */
  readonly norms: "before" | "after";
}

/** Attention of every token to every real one and an MLP, each with a sum and a layer norm. */
export function encoderBlock(site: Site, frame: Frame, x: string, spec: EncoderBlockSpec): string {
  const { block, width, heads, inner, activation, epsilon, bias, names, norms } = spec;
  const norm = (when: typeof norms, name: string, y: string): string =>
    when === norms ? layerNorm(site.at(name), y, width, epsilon) : y;
  const read = norm("before", names.attentionNorm, x);
  const project = (name: string): string =>
    linear(site.at(names.attention).at(name), read, { inputs: width, outputs: width, bias });
  const projected = { query: project("query"), key: project("key"), value: project("value") };
  const size = width.value / heads;
  const mixed = attend(site, frame, projected, { block, heads, kvHeads: heads, size, reach: { causal: false } });
  const attended = linear(site.at("attention.output.dense"), mixed, { inputs: width, outputs: width, bias: true });
  const h = norm("after", names.attentionNorm, site.add(x, attended));
  const wide = linear(site.at("intermediate.dense"), norm("before", names.mlpNorm, h), {
    inputs: width,
    outputs: inner,
    bias: true,
  });
  const made = linear(site.at("output.dense"), activate(site, wide, activation), {
    inputs: inner,
    outputs: width,
    bias: true,
  });
  return norm("after", names.mlpNorm, site.add(h, made));
}
