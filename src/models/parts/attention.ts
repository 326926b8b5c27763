import { int } from "../../graph/attributes.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { Frame, Reach } from "../checkpoint/frame.ts";
import type { Site } from "../checkpoint/site.ts";
import type { RotarySpec } from "./rotary.ts";

/** What an attention does with its queries, keys and values. */
export interface AttentionSpec {
  /** Number of the block, by which cached keys and values are named. */
  readonly block: number;
  readonly heads: number;
  /** Heads of keys and values; each serves heads / kvHeads queries. */
  readonly kvHeads: number;
  /** Features of a query and a key in one head. */
  readonly size: number;
  /** Features of a value in one head; default: `size`. */
  readonly valueSize?: number;
  /** Factor on scores; default 1 / √size. */
  readonly scale?: number;
  readonly reach: Reach;
  readonly rotary?: RotarySpec | undefined;
  /** Scores s become cap · tanh(s / cap). */
  readonly softCap?: number | undefined;
  /** What queries and keys pass in each head, before they turn. x: [batch, heads, time, size]. */
  readonly normQuery?: ((x: string) => string) | undefined;
  readonly normKey?: ((x: string) => string) | undefined;
}

/** Projected, [batch, time, heads · size] each. */
export interface Projected {
  readonly query: string;
  readonly key: string;
  readonly value: string;
}

/** softmax(q·kᵀ · scale + mask) · v in every head → [batch, time, heads · valueSize]. */
export function attend(site: Site, frame: Frame, projected: Projected, spec: AttentionSpec): string {
  const { heads, kvHeads, size, valueSize = size } = spec;
  const inHeads = (x: string, count: number, width: number): string =>
    site.transpose(site.reshape(x, [0, 0, count, width]), [0, 2, 1, 3]);
  const placed = (x: string, count: number, norm: ((x: string) => string) | undefined): string => {
    const apart = inHeads(x, count, size);
    return turn(site, frame, norm === undefined ? apart : norm(apart), spec);
  };
  const query = placed(projected.query, heads, spec.normQuery);
  const key = placed(projected.key, kvHeads, spec.normKey);
  const value = inHeads(projected.value, kvHeads, valueSize);
  return attendInHeads(site, frame, { query, key, value }, spec);
}

/** The same from what is split into heads and turned: [batch, heads, time, size] each. */
export function attendInHeads(site: Site, frame: Frame, parts: Projected, spec: AttentionSpec): string {
  const { draft } = site;
  const { block, heads, kvHeads, size, valueSize = size, scale = size ** -0.5, softCap } = spec;
  if (heads % kvHeads !== 0) {
    const message = `expected a multiple of the ${kvHeads} heads of keys and values, got ${heads} heads of queries.`;
    throw new EspalierError("format", `config.json: ${site.path}`, message, "The config is damaged; fetch it again.");
  }
  const shape = { heads: kvHeads, keySize: size, valueSize };
  const seen = frame.remember(block, { key: parts.key, value: parts.value, ...shape });
  const scaled = draft.op("Mul", [parts.query, site.float(scale)]);
  const key = site.transpose(repeated(site, seen.key, spec, size), [0, 1, 3, 2]);
  let scores = draft.op("MatMul", [scaled, key]);
  if (softCap !== undefined) scores = capped(site, scores, softCap);
  const mask = frame.mask(spec.reach);
  if (mask !== undefined) scores = draft.op("Add", [scores, mask]);
  const shares = draft.op("Softmax", [scores], { axis: int(-1) });
  const mixed = draft.op("MatMul", [shares, repeated(site, seen.value, spec, valueSize)]);
  return site.reshape(site.transpose(mixed, [0, 2, 1, 3]), [0, 0, heads * valueSize]);
}

/** cap · tanh(x / cap). */
export function capped(site: Site, x: string, cap: number): string {
  const { draft } = site;
  return draft.op("Mul", [draft.op("Tanh", [draft.op("Mul", [x, site.float(1 / cap)])]), site.float(cap)]);
}

/** Rotary positions of [batch, heads, time, size]. */
export function turn(
  site: Site,
  frame: Frame,
  x: string,
  { rotary, size }: Pick<AttentionSpec, "rotary" | "size">,
): string {
  if (rotary === undefined) return x;
  const { cos, sin } = frame.rotary(rotary);
  const turned = 2 * rotary.frequencies.length;
  return site.draft.op("RotaryEmbedding", [x, cos, sin], {
    interleaved: int(rotary.interleaved === true ? 1 : 0),
    rotary_embedding_dim: int(turned === size ? 0 : turned),
  });
}

/** Each head of keys or values as often as queries share it. */
function repeated(site: Site, x: string, { heads, kvHeads }: AttentionSpec, size: number): string {
  if (heads === kvHeads) return x;
  const { draft } = site;
  const five = draft.op("Unsqueeze", [x, site.int64([2])]);
  const wide = draft.op("Expand", [five, site.int64([1, 1, heads / kvHeads, 1, 1])]);
  return site.reshape(wide, [0, heads, -1, size]);
}
