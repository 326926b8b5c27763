import { int } from "../../graph/attributes.ts";
import type { Frame } from "../checkpoint/frame.ts";
import type { Site } from "../checkpoint/site.ts";
import { fixedSize, plus, type Size, times } from "../checkpoint/size.ts";
import { attendInHeads, turn } from "./attention.ts";
import { linear, split } from "./linear.ts";
import type { RotarySpec } from "./rotary.ts";

/** An attention whose keys and values are made of one narrow state per token. */
export interface LatentSpec {
  readonly block: number;
  readonly width: Size;
  readonly heads: Size;
  readonly kvHeads: Size;
  /** Features of queries and keys in a head that do not turn, and those that do. */
  readonly plain: number;
  readonly turning: number;
  /** Features of a value in a head. */
  readonly valueSize: number;
  /** Features of the narrow state, and of the one that queries are made of, where there is one. */
  readonly keyRank: Size;
  readonly queryRank?: Size | undefined;
  readonly scale: number;
  readonly rotary: RotarySpec;
  readonly bias: boolean;
  /** A norm over the first outputs of the matrix at `maker`. */
  readonly norm: (site: Site, x: string, size: Size, maker: Site) => string;
}

/**
 * Multi-head latent attention of DeepSeek-V2 (arXiv 2405.04434, section 2.1). Positions turn a part of each query and one
 * key that all heads share. Names: q_proj or q_a_proj, q_a_layernorm and q_b_proj; kv_a_proj_with_mqa, kv_a_layernorm,
 * kv_b_proj; o_proj.
 */
export function latentAttention(site: Site, frame: Frame, x: string, spec: LatentSpec): string {
  const { block, width, heads, kvHeads, plain, turning, valueSize, keyRank, queryRank, scale, rotary, bias } = spec;
  const { draft } = site;
  const inHeads = (y: string, count: Size, sizes: readonly [number, number]) => {
    const apart = site.reshape(y, [0, 0, count.value, sizes[0] + sizes[1]]);
    return split(site, site.transpose(apart, [0, 2, 1, 3]), sizes);
  };
  const turned = (y: string): string => turn(site, frame, y, { rotary, size: turning });
  const queries = { outputs: times(heads, plain + turning) };
  const narrowQuery = (rank: Size): string => {
    const maker = site.at("q_a_proj");
    const narrow = linear(maker, x, { inputs: width, outputs: rank, bias });
    const normed = spec.norm(site.at("q_a_layernorm"), narrow, rank, maker);
    return linear(site.at("q_b_proj"), normed, { inputs: rank, ...queries });
  };
  const query =
    queryRank === undefined ? linear(site.at("q_proj"), x, { inputs: width, ...queries }) : narrowQuery(queryRank);
  const [queryPlain, queryTurning] = inHeads(query, heads, [plain, turning]);
  const both = plus(keyRank, fixedSize(turning));
  const maker = site.at("kv_a_proj_with_mqa");
  const narrow = linear(maker, x, { inputs: width, outputs: both, bias });
  const [state, shared] = split(site, narrow, [keyRank.value, turning]);
  const made = linear(site.at("kv_b_proj"), spec.norm(site.at("kv_a_layernorm"), state, keyRank, maker), {
    inputs: keyRank,
    outputs: times(kvHeads, plain + valueSize),
  });
  const [keyPlain, value] = inHeads(made, kvHeads, [plain, valueSize]);
  const once = turned(draft.op("Unsqueeze", [shared, site.int64([1])]));
  const everywhere = draft.op("Expand", [once, site.int64([1, kvHeads.value, 1, 1])]);
  const join = (a: string, b: string): string => draft.op("Concat", [a, b], { axis: int(-1) });
  const mixed = attendInHeads(
    site,
    frame,
    { query: join(queryPlain, turned(queryTurning)), key: join(keyPlain, everywhere), value },
    {
      ...{ block, scale, valueSize, heads: heads.value, kvHeads: kvHeads.value },
      size: plain + turning,
      reach: { causal: true },
    },
  );
  return linear(site.at("o_proj"), mixed, { inputs: times(heads, valueSize), outputs: width, bias });
}
