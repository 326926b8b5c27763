import type { Json } from "../../formats/checkpoint/json.ts";
import type { Experts, Outline } from "../checkpoint/architecture.ts";
import type { Frame } from "../checkpoint/frame.ts";
import type { Site } from "../checkpoint/site.ts";
import type { Size } from "../checkpoint/size.ts";
import { capped } from "./attention.ts";
import { embedding, linear } from "./linear.ts";

/** A decoder: tokens to hidden states, blocks, a norm, and a matrix to the logits of every entry of the vocabulary. */
export interface DecoderSpec {
  readonly vocabulary: Size;
  readonly width: Size;
  /** Width of the embedding's rows and of what the head reads, where it is another one. */
  readonly tableWidth?: Size;
  readonly positions: number;
  readonly layers: number;
  /** The head is the table of the embedding. */
  readonly tied: boolean;
  /** What a block makes of hidden states; `site` is where its parameters lie. */
  readonly block: (site: Site, frame: Frame, x: string, block: number) => string;
  /** Where a block has its experts, from where its parameters lie. */
  readonly experts?: ((block: number) => Experts | undefined) | undefined;
  /** The norm before the head, from the root of all names. */
  readonly norm: (root: Site, x: string) => string;
  /** What becomes of the rows of the embedding, from the root of all names. */
  readonly embedded?: (root: Site, frame: Frame, x: string) => string;
  readonly names?: Partial<typeof usualNames>;
  readonly headBias?: boolean;
  /** Logits l become cap · tanh(l / cap). */
  readonly logitCap?: number | undefined;
  /** See `Outline`. */
  readonly explicit?: Json;
  readonly epsilons?: Readonly<Record<string, string>>;
  readonly fixed?: Readonly<Record<string, string>>;
  readonly renumbered?: Outline["renumbered"];
  readonly blockCount?: string;
}

const usualNames = { embedding: "model.embed_tokens", blocks: "model.layers", head: "lm_head" };

/** The outline of a decoder. */
export function decoder(spec: DecoderSpec): Outline {
  const { vocabulary, width, tied, logitCap, tableWidth = width } = spec;
  const names = { ...usualNames, ...spec.names };
  const headBias = spec.headBias === true;
  return {
    width: width.value,
    vocabulary: vocabulary.value,
    positions: spec.positions,
    embed: (root, frame, tokens) => {
      const rows = embedding(root.at(names.embedding), tokens, vocabulary, tableWidth);
      return spec.embedded === undefined ? rows : spec.embedded(root, frame, rows);
    },
    blocks: Array.from({ length: spec.layers }, (_, block) => {
      const path = `${names.blocks}.${block}`;
      const experts = spec.experts?.(block);
      return {
        path,
        write: (root, frame, x) => spec.block(root.at(names.blocks).at(block), frame, x, block),
        ...(experts === undefined ? {} : { experts: { ...experts, path: `${path}.${experts.path}` } }),
      };
    }),
    head: (root, _, x) => {
      const matrix = root.at(tied ? names.embedding : names.head);
      const logits = linear(matrix, spec.norm(root, x), { inputs: tableWidth, outputs: vocabulary, bias: headBias });
      return logitCap === undefined ? logits : capped(root, logits, logitCap);
    },
    tied: new Map(tied ? [[`${names.head}.weight`, `${names.embedding}.weight`]] : []),
    blockCount: spec.blockCount ?? "num_hidden_layers",
    explicit: spec.explicit ?? {},
    ...(spec.epsilons === undefined ? {} : { epsilons: spec.epsilons }),
    ...(spec.fixed === undefined ? {} : { fixed: spec.fixed }),
    ...(spec.renumbered === undefined ? {} : { renumbered: spec.renumbered }),
  };
}
