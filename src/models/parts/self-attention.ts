import type { Frame } from "../checkpoint/frame.ts";
import type { Site } from "../checkpoint/site.ts";
import { type Size, times } from "../checkpoint/size.ts";
import { type AttentionSpec, attend } from "./attention.ts";
import { linear } from "./linear.ts";

export interface SelfAttentionSpec extends Omit<AttentionSpec, "heads" | "kvHeads" | "valueSize"> {
  readonly width: Size;
  readonly heads: Size;
  readonly kvHeads: Size;
  /** Of queries, keys and values, and of the output unless `outputBias` says otherwise. */
  readonly bias?: boolean;
  readonly outputBias?: boolean;
  readonly names?: { readonly query: string; readonly key: string; readonly value: string; readonly output: string };
  /** What whole queries and keys pass before they are split into heads, over features of that size. */
  readonly normQueries?: (size: Size) => (x: string) => string;
  readonly normKeys?: (size: Size) => (x: string) => string;
}

const usualNames = { query: "q_proj", key: "k_proj", value: "v_proj", output: "o_proj" };

/** An attention over its own input, with a matrix each for queries, keys, values and the output. */
export function selfAttention(site: Site, frame: Frame, x: string, spec: SelfAttentionSpec): string {
  const { width, heads, kvHeads, size, bias = false, outputBias = bias, names = usualNames } = spec;
  const project = (name: string, count: Size): string =>
    linear(site.at(name), x, { inputs: width, outputs: times(count, size), bias });
  const query = project(names.query, heads);
  const key = project(names.key, kvHeads);
  const projected = {
    query: spec.normQueries === undefined ? query : spec.normQueries(times(heads, size))(query),
    key: spec.normKeys === undefined ? key : spec.normKeys(times(kvHeads, size))(key),
    value: project(names.value, kvHeads),
  };
  const mixed = attend(site, frame, projected, { ...spec, heads: heads.value, kvHeads: kvHeads.value });
  return linear(site.at(names.output), mixed, { inputs: times(heads, size), outputs: width, bias: outputBias });
}
