import * as z from "zod";
import { architecture, type Outline } from "../checkpoint/architecture.ts";
import { blockCount, count, optional } from "../checkpoint/config.ts";
import type { Frame } from "../checkpoint/frame.ts";
import type { Site } from "../checkpoint/site.ts";
import { sizeOfField } from "../checkpoint/size.ts";
import { encoderBlock } from "../parts/encoder-block.ts";
import { embedding, linear } from "../parts/linear.ts";
import { layerNorm } from "../parts/norm.ts";

const config = z.object({
  vocab_size: count,
  hidden_size: count,
  num_hidden_layers: blockCount,
  num_attention_heads: count,
  intermediate_size: count,
  hidden_act: optional(z.string(), "gelu"),
  max_position_embeddings: optional(count, 512),
  type_vocab_size: optional(count, 2),
  layer_norm_eps: optional(z.number(), 1e-12),
  pad_token_id: optional(z.int().min(0), 0),
  position_embedding_type: optional(z.literal("absolute"), "absolute"),
});

type Config = z.output<typeof config>;

interface Differences {
  readonly prefix: string;
  /** Positions of tokens [batch, time]. */
  readonly places: (site: Site, frame: Frame, tokens: string) => string;
  /** Rows of the table of positions that no token has. */
  readonly unused: number;
  /** Where the head that tells masked tokens has its rows for tokens. */
  readonly tokenRows: readonly string[];
  readonly placedTokens?: Readonly<Record<string, number>>;
}

/** What BERT and RoBERTa share: tables of tokens, positions and kinds, norms behind the sums, a pooled first token. */
function outline(
  c: Config,
  of: (block: number) => Config,
  has: (name: string) => boolean,
  { prefix, places, unused, ...tokens }: Differences,
): Outline {
  const at = has("embeddings.word_embeddings.weight") ? "" : `${prefix}.`;
  const width = sizeOfField("hidden_size", c.hidden_size);
  const positions = sizeOfField("max_position_embeddings", c.max_position_embeddings);
  const kinds = sizeOfField("type_vocab_size", c.type_vocab_size);
  return {
    width: c.hidden_size,
    vocabulary: c.vocab_size,
    positions: c.max_position_embeddings - unused,
    blockCount: "num_hidden_layers",
    tied: new Map(),
    explicit: {},
    ...tokens,
    embed: (root, frame, tokens) => {
      const site = root.at(`${at}embeddings`);
      const rows = embedding(site.at("word_embeddings"), tokens, sizeOfField("vocab_size", c.vocab_size), width);
      const placed = embedding(site.at("position_embeddings"), places(site, frame, tokens), positions, width);
      const kind = embedding(site.at("token_type_embeddings"), frame.tokenTypes, kinds, width);
      return layerNorm(site.at("LayerNorm"), site.add(site.add(rows, kind), placed), width, c.layer_norm_eps);
    },
    blocks: Array.from({ length: c.num_hidden_layers }, (_, block) => ({
      path: `${at}encoder.layer.${block}`,
      write: (root, frame, x) =>
        encoderBlock(root.at(`${at}encoder.layer`).at(block), frame, x, {
          ...{ block, width, heads: c.num_attention_heads, norms: "after", bias: true },
          inner: sizeOfField("intermediate_size", of(block).intermediate_size),
          activation: c.hidden_act,
          epsilon: c.layer_norm_eps,
          names: {
            attention: "attention.self",
            attentionNorm: "attention.output.LayerNorm",
            mlpNorm: "output.LayerNorm",
          },
        }),
    })),
    head: (root, frame, x) => {
      if (has(`${at}pooler.dense.weight`)) {
        const first = root.draft.op("Gather", [x, root.int64([0], [])], { axis: { kind: "int", value: 1 } });
        const dense = linear(root.at(`${at}pooler.dense`), first, { inputs: width, outputs: width, bias: true });
        frame.answer("pooler_output", root.draft.op("Tanh", [dense]), ["batch", c.hidden_size]);
      }
      return root.draft.op("Identity", [x]);
    },
  };
}

/** BERT (arXiv 1810.04805). */
export const bert = architecture({
  types: ["bert"],
  kind: "encoder",
  config,
  outline: (c, of, has) =>
    outline(c, of, has, {
      ...{ prefix: "bert", unused: 0, places: (_, frame) => frame.positions },
      tokenRows: ["bias", "decoder.weight", "decoder.bias"].map((name) => `cls.predictions.${name}`),
    }),
});

/** RoBERTa (arXiv 1907.11692): positions count from behind the number of the padding token, which padding keeps. */
export const roberta = architecture({
  types: ["roberta", "xlm-roberta", "camembert"],
  kind: "encoder",
  config: z.object({ ...config.shape, pad_token_id: optional(z.int().min(0), 1) }),
  outline: (c, of, has) =>
    outline(c, of, has, {
      prefix: "roberta",
      unused: c.pad_token_id + 1,
      tokenRows: ["bias", "decoder.weight", "decoder.bias"].map((name) => `lm_head.${name}`),
      placedTokens: { pad_token_id: c.pad_token_id },
      places: (site, _, tokens) => {
        const { draft } = site;
        const padding = site.int64([c.pad_token_id], []);
        const real = site.cast(draft.op("Not", [draft.op("Equal", [tokens, padding])]), "i64");
        const counted = draft.op("CumSum", [real, site.int64([1], [])]);
        return site.add(draft.op("Mul", [counted, real]), padding);
      },
    }),
});
