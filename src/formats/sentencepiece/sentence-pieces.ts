import { EspalierError } from "../../tensor/error.ts";
import { Fields } from "../onnx/fields.ts";
import { Message } from "../onnx/message.ts";

/** One token of a SentencePiece model. */
export interface SentencePiece {
  readonly text: string;
  readonly score: number;
  /** The field as it lies in the file. */
  readonly raw: Uint8Array;
}

/** A SentencePiece model (`tokenizer.model`), as far as its tokens are concerned. */
export interface SentencePieces {
  /** By their ids. */
  readonly pieces: readonly SentencePiece[];
  /** 1 unigram, 2 BPE, 3 words, 4 characters. */
  readonly kind: number;
  /** Bytes of the settings that it was trained with, where the number of tokens and some ids stand. */
  readonly trainer: Uint8Array | null;
  /** All other fields as they lie in the file, but for samples that it would be tested with. */
  readonly others: readonly Uint8Array[];
}

/** Fields of ModelProto and of its parts. */
const field = { piece: 1, trainer: 2, samples: 4, text: 1, score: 2, kind: 3, count: 4 } as const;
/** Ids in the settings: unknown, begin, end, padding. */
const idFields: ReadonlySet<number> = new Set([40, 41, 42, 43]);

/** Reads a SentencePiece model. Throws `format`. */
export function readSentencePieces(name: string, bytes: Uint8Array): SentencePieces {
  const pieces: SentencePiece[] = [];
  const others: Uint8Array[] = [];
  let [kind, trainer]: [number, Uint8Array | null] = [1, null];
  for (const fields = Fields.of(name, bytes); fields.next(); ) {
    if (fields.field === field.piece) pieces.push(pieceOf(fields));
    else if (fields.field === field.trainer) {
      trainer = fields.bytes();
      for (const inner = fields.message(); inner.next(); ) if (inner.field === field.kind) kind = inner.integer();
    } else if (fields.field !== field.samples) others.push(fields.raw());
  }
  if (pieces.length > 0) return { pieces, kind, trainer, others };
  throw new EspalierError("format", name, "expected a SentencePiece model with tokens, got none.");
}

function pieceOf(fields: Fields): SentencePiece {
  let [text, score] = ["", 0];
  for (const inner = fields.message(); inner.next(); ) {
    if (inner.field === field.text) text = inner.string();
    else if (inner.field === field.score) score = inner.float();
  }
  return { text, score, raw: fields.raw() };
}

/**
 * A SentencePiece model with only these tokens, in the order given. Null where its settings name the id of a token that is
 * gone.
 */
export function withPieces({ pieces, trainer, others }: SentencePieces, kept: readonly number[]): Uint8Array | null {
  const places = new Map(kept.map((id, place) => [id, place]));
  const whole = new Message().raw(kept.flatMap((id) => pieces[id]?.raw ?? []));
  if (trainer !== null) {
    const settings = new Message();
    for (const fields = Fields.of("settings", trainer); fields.next(); ) {
      if (fields.field === field.count) settings.int(field.count, kept.length);
      else if (idFields.has(fields.field) && fields.int64() >= 0n) {
        const place = places.get(fields.integer());
        if (place === undefined) return null;
        settings.int(fields.field, place);
      } else settings.raw([fields.raw()]);
    }
    whole.message(field.trainer, settings);
  }
  const made = whole.raw(others).pieces();
  const bytes = new Uint8Array(whole.length);
  let at = 0;
  for (const piece of made) {
    if (!(piece instanceof Uint8Array)) continue;
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/**
 * Tokens that BPE makes on the way to one: it joins the pair that is the token with the highest score, of equal ones the left
 * one.
 */
export function joinedByScores(pieces: readonly SentencePiece[]): (token: string) => readonly string[] {
  const scores = new Map(pieces.map(({ text, score }) => [text, score]));
  return (token) => {
    const parts = Array.from(token);
    const found = new Set(parts);
    for (;;) {
      let [place, highest] = [-1, Number.NEGATIVE_INFINITY];
      for (let i = 1; i < parts.length; i++) {
        const score = scores.get(`${parts[i - 1]}${parts[i]}`);
        if (score !== undefined && score > highest) [place, highest] = [i - 1, score];
      }
      if (place < 0) return [...found];
      const joined = `${parts[place]}${parts[place + 1]}`;
      parts.splice(place, 2, joined);
      found.add(joined);
    }
  };
}
