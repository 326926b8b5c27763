import * as z from "zod";
import type { Json } from "../../formats/checkpoint/json.ts";
import { readConfig } from "./config.ts";
import type { Frame } from "./frame.ts";
import type { Site } from "./site.ts";

/** What a model is for: text that goes on, features of a text, or features of a picture. */
export type Kind = "decoder" | "encoder" | "vision";

/** Writes a part of a model behind a value and gives the value that it makes. `site` is the root of all names. */
export type Write = (site: Site, frame: Frame, x: string) => string;

/** A model in the order in which it computes, as its config describes it. */
export interface Outline {
  /** Features of a hidden state. */
  readonly width: number;
  /** Entries of the vocabulary; 0 where there is none. */
  readonly vocabulary: number;
  /** Longest sequence that it was made for. */
  readonly positions: number;
  /** Pictures that it takes, where it takes pictures. */
  readonly picture?: { readonly channels: number; readonly size: number };
  readonly embed: Write;
  readonly blocks: readonly Block[];
  /** The field that counts blocks. */
  readonly blockCount: string;
  /** Hidden states to what the model answers: logits, or features. */
  readonly head: Write;
  /** Parameters that checkpoints may hold though they are another one, by name: a tied head. */
  readonly tied: ReadonlyMap<string, string>;
  /** Fields that a config has to state once sizes are no longer those from which they would follow. */
  readonly explicit: Json;
  /**
   * Fields with the ε of norms without a mean, each with the field that counts the features they are over: over fewer
   * features the mean of squares grows, and ε with it.
   */
  readonly epsilons?: Readonly<Record<string, string>>;
  /**
   * What a config says of blocks by their numbers, beside lists with an entry for each block, where only these are left, in this
   * order. Throws `request` where no config can say it of these.
   */
  readonly renumbered?: (kept: readonly number[]) => Json;
  /** Fields that have to stay what they are, since more than sizes follows from them, each with the reason. */
  readonly fixed?: Readonly<Record<string, string>>;
  /** Tensors that no stage reads and that have a row for each token, where checkpoints hold them: the head of a task. */
  readonly tokenRows?: readonly string[];
  /** Fields of the config with the id of a token whose number means more than the token, each with that id. */
  readonly placedTokens?: Readonly<Record<string, number>>;
}

export interface Block {
  /** Where its parameters lie: `model.layers.3`. */
  readonly path: string;
  readonly write: Write;
  /** Where its experts lie, each under its number, and the field that counts them; absent where it has none. */
  readonly experts?: Experts;
}

export interface Experts {
  readonly path: string;
  readonly field: string;
}

/** A family of models whose checkpoints share their names and formulas. */
export interface Architecture {
  /** Values of `model_type` in config.json. */
  readonly types: readonly string[];
  readonly kind: Kind;
  /** Reads a config. `has` tells which tensors there are, where a config leaves that open. Throws `format`. */
  outline(config: Json, checkpoint: string, has: (tensor: string) => boolean): Outline;
}

interface Definition<C> {
  readonly types: readonly string[];
  readonly kind: Kind;
  readonly config: z.ZodType<C>;
  /** `of` is the config of one block, which may differ from the others in its sizes. */
  readonly outline: (c: C, of: (block: number) => C, has: (tensor: string) => boolean) => Outline;
}

const perLayer = z.object({ per_layer_config: z.record(z.string(), z.record(z.string(), z.unknown())).nullish() });

/** An architecture from the fields of its config and what they mean. */
export function architecture<C>({ types, kind, config, outline }: Definition<C>): Architecture {
  return {
    types,
    kind,
    outline: (json, checkpoint, has) => {
      const own = readConfig(perLayer, json, checkpoint).per_layer_config ?? {};
      const whole = readConfig(config, json, checkpoint);
      const of = (block: number): C => {
        const changes = own[String(block)];
        return changes === undefined ? whole : readConfig(config, { ...json, ...changes }, checkpoint);
      };
      return outline(whole, of, has);
    },
  };
}
