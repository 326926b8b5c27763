import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";

const data = process.env["ESPALIER_DATA"] ?? "";

/** The folder of a small pretrained Llama; see `hasStories`. */
export const storiesFolder = join(data, "models/stories260K");

export const hasStories = data !== "" && existsSync(storiesFolder);

/** The passages of a text that separates them as TinyStories does. */
export function passages(file: string): readonly string[] {
  const text = readFileSync(join(data, "text", file), "utf8");
  return text
    .split("<|endoftext|>")
    .map((passage) => passage.trim())
    .filter((passage) => passage !== "");
}

/** Tokens of the model's vocabulary: `<s>`, then pieces merged by score, the best pair first. */
export function storyTokens(): (text: string) => number[] {
  const bytes = readFileSync(join(storiesFolder, "tokenizer.bin"));
  const ids = new Map<string, number>();
  const scores: number[] = [];
  const pieces: string[] = [];
  for (let at = 4; at < bytes.length; ) {
    const length = bytes.readInt32LE(at + 4);
    const piece = bytes.toString("utf8", at + 8, at + 8 + length);
    if (!ids.has(piece)) ids.set(piece, pieces.length);
    scores.push(bytes.readFloatLE(at));
    pieces.push(piece);
    at += 8 + length;
  }
  const known = new Map<string, readonly number[]>();
  const merged = (word: string): readonly number[] => {
    const tokens = [...word].flatMap((letter) => {
      const id = ids.get(letter);
      return id === undefined ? [...Buffer.from(letter)].map((byte) => byte + 3) : [id];
    });
    for (;;) {
      let best = Number.NEGATIVE_INFINITY;
      let [place, joined] = [-1, -1];
      for (let i = 0; i + 1 < tokens.length; i++) {
        const id = ids.get(`${pieces[tokens[i] ?? 0]}${pieces[tokens[i + 1] ?? 0]}`);
        const score = id === undefined ? undefined : scores[id];
        if (id !== undefined && score !== undefined && score > best) [best, place, joined] = [score, i, id];
      }
      if (place < 0) return tokens;
      tokens.splice(place, 2, joined);
    }
  };
  // No piece of this vocabulary holds a space behind its first letter, so words are merged apart.
  return (text) => [
    1,
    ...` ${text}`.split(/(?= )/).flatMap((word) => {
      const tokens = known.get(word) ?? merged(word);
      known.set(word, tokens);
      return tokens;
    }),
  ];
}
