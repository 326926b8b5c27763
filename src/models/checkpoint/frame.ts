import { int } from "../../graph/attributes.ts";
import type { RotarySpec } from "../parts/rotary.ts";
import { rotaryTables } from "../parts/rotary.ts";
import type { Site } from "./site.ts";

/**
 * What a graph is fed beside tokens or hidden states: `tokens` nothing else; `padded` attention_mask [batch, time], 1 at
 * real tokens, and token_type_ids where a model tells texts apart; `cached` attention_mask [batch, past + time], position_ids [batch, time] and past keys and values.
 */
export type Feeding = "tokens" | "padded" | "cached";

/** Which keys a query may look at. */
export interface Reach {
  readonly causal: boolean;
  /** Keys at a distance of at least so many positions are out of reach; both ways where it is not causal. */
  readonly window?: number;
}

/** Cosines and sines [batch, time, size / 2]. */
export interface Tables {
  readonly cos: string;
  readonly sin: string;
}

/** Added to a score where a query may not look: far below any score, and within half floats. */
const hidden = -30_000;

/** Positions, masks and cached keys of one graph: whatever blocks share is written once. */
export class Frame {
  readonly #site: Site;
  readonly #first: string;
  readonly #feeding: Feeding;

  /** `first` is the first value [batch, time, ..] of the graph: tokens or hidden states. */
  constructor(site: Site, first: string, feeding: Feeding) {
    this.#site = site;
    this.#first = first;
    this.#feeding = feeding;
  }

  /** Position of each token, i64 [batch, time]. */
  get positions(): string {
    const { draft } = this.#site;
    if (this.#feeding === "cached") return this.#input("position_ids", "time");
    return this.#site.once("positions", () => {
      const list = draft.op("Range", [this.#site.int64([0], []), this.#time, this.#site.int64([1], [])]);
      return draft.op("Expand", [list, this.#site.sizes(this.#first, 0, 2)]);
    });
  }

  /** Kind of each token, i64 [batch, time]: which of two texts it is of. All are of the first unless `padded`. */
  get tokenTypes(): string {
    if (this.#feeding === "padded") return this.#input("token_type_ids", "time");
    return this.#site.once("token types", () =>
      this.#site.draft.op("Expand", [this.#site.int64([0], []), this.#site.sizes(this.#first, 0, 2)]),
    );
  }

  /** Gives a value as one more output of the graph. */
  answer(name: string, value: string, dims: readonly (number | string)[]): void {
    const { draft } = this.#site;
    draft.output(draft.op("Identity", [value], {}, name), "f32", dims);
  }

  /** 1 at real tokens, i64 [batch, past + time]; undefined where every token is real. */
  get attentionMask(): string | undefined {
    if (this.#feeding === "tokens") return undefined;
    return this.#input("attention_mask", this.#feeding === "padded" ? "time" : "total");
  }

  /** What is added to scores [batch, heads, time, keys]: 0 where a query may look; undefined where it may everywhere. */
  mask(reach: Reach): string | undefined {
    const { draft } = this.#site;
    const allowed = this.#within(reach);
    const padding = this.attentionMask;
    if (allowed === undefined && padding === undefined) return undefined;
    return this.#site.once(`mask ${reach.causal} ${reach.window}`, () => {
      let open = allowed;
      if (padding !== undefined) {
        const real = this.#site.once("real keys", () =>
          draft.op("Unsqueeze", [this.#site.cast(padding, "bool"), this.#site.int64([1, 2])]),
        );
        open = open === undefined ? real : draft.op("And", [open, real]);
      }
      return draft.op("Where", [open ?? "", this.#site.float(0), this.#site.float(hidden)]);
    });
  }

  /** Angles of rotary positions. */
  rotary(spec: RotarySpec): Tables {
    const at = JSON.stringify(spec);
    const both = (): Tables => rotaryTables(this.#site, this.positions, spec);
    const cos = this.#site.once(`cos ${at}`, () => {
      const made = both();
      this.#site.once(`sin ${at}`, () => made.sin);
      return made.cos;
    });
    return { cos, sin: this.#site.once(`sin ${at}`, () => both().sin) };
  }

  /**
   * Keys and values [batch, heads, time, size] of a block behind those of the past; the graph gives both back for the
   * next call. Without a cache they are what they were.
   */
  remember(
    block: number,
    { key, value, heads, keySize, valueSize }: Remembered,
  ): { readonly key: string; readonly value: string } {
    if (this.#feeding !== "cached") return { key, value };
    const grown = (kind: "key" | "value", present: string, size: number): string => {
      const { draft } = this.#site;
      const past = draft.input(`past_key_values.${block}.${kind}`, "f32", ["batch", heads, "past", size]);
      const all = draft.op("Concat", [past, present], { axis: int(2) }, `present.${block}.${kind}`);
      return draft.output(all, "f32", ["batch", heads, "total", size]);
    };
    return { key: grown("key", key, keySize), value: grown("value", value, valueSize) };
  }

  /** Which keys lie within reach, bool [time, keys]; undefined where all do. */
  #within({ causal, window }: Reach): string | undefined {
    if (!causal && window === undefined) return undefined;
    const { draft } = this.#site;
    const site = this.#site;
    const past = site.once("distance", () => {
      const total = this.#total;
      const one = site.int64([1], []);
      const keys = draft.op("Range", [site.int64([0], []), total, one]);
      const queries = draft.op("Range", [draft.op("Sub", [total, this.#time]), total, one]);
      return draft.op("Sub", [draft.op("Unsqueeze", [queries, site.int64([1])]), keys]);
    });
    const near = (x: string): string => draft.op("Less", [x, site.int64([window ?? 0], [])]);
    if (!causal) return near(draft.op("Abs", [past]));
    const back = site.once("not ahead", () => draft.op("GreaterOrEqual", [past, site.int64([0], [])]));
    return window === undefined ? back : draft.op("And", [back, near(past)]);
  }

  get #time(): string {
    return this.#length(this.#first);
  }

  get #total(): string {
    return this.#feeding === "cached" ? this.#length(this.attentionMask ?? "") : this.#time;
  }

  #length(x: string): string {
    return this.#site.once(`length ${x}`, () =>
      this.#site.draft.op("Squeeze", [this.#site.sizes(x, 1, 2), this.#site.int64([0])]),
    );
  }

  #input(name: string, axis: string): string {
    return this.#site.once(`input ${name}`, () => this.#site.draft.input(name, "i64", ["batch", axis]));
  }
}

/** Keys and values of a block, and how wide a head of them is. */
export interface Remembered {
  readonly key: string;
  readonly value: string;
  readonly heads: number;
  readonly keySize: number;
  readonly valueSize: number;
}
