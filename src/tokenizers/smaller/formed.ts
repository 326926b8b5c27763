import { settingOf, type Vocabulary } from "./vocabulary.ts";

/**
 * What is formed on the way to a token, or to those of a word: the symbols that BPE begins with and every token that
 * its merges make of them; for WordPiece, the tokens that are found one behind the other, also where the rest is not
 * known. `word` is written as the vocabulary writes tokens.
 */
export type Formed = (word: string) => readonly string[];

/** What a vocabulary forms. Unigram models form nothing: they weigh whole tokens. */
export function formedBy(vocabulary: Vocabulary): Formed {
  if (vocabulary.kind === "BPE") return byMerges(vocabulary);
  return vocabulary.kind === "WordPiece" ? byLongest(vocabulary) : (word) => [word];
}

/**
 * Merges join the pair that comes first in their list, of equal ones the left one, until none is left. What is joined inside a
 * token does not depend on what stands around it: pairs across its borders were never the first.
 */
function byMerges({ merges, model }: Vocabulary): Formed {
  const ranks = new Map<string, Map<string, number>>();
  for (const [rank, [left, right]] of merges.entries()) {
    const after = ranks.get(left) ?? new Map<string, number>();
    // Of a pair that stands twice the last place counts, as where lists become maps.
    ranks.set(left, after.set(right, rank));
  }
  const suffix = settingOf(model, "end_of_word_suffix");
  return (word) => {
    const parts = symbolsOf(word, suffix);
    const found = new Set(parts);
    for (;;) {
      let [place, first] = [-1, Number.POSITIVE_INFINITY];
      for (let i = 1; i < parts.length; i++) {
        const rank = ranks.get(parts[i - 1] ?? "")?.get(parts[i] ?? "");
        if (rank !== undefined && rank < first) [place, first] = [i - 1, rank];
      }
      if (place < 0) return [...found];
      const joined = `${parts[place]}${parts[place + 1]}`;
      parts.splice(place, 2, joined);
      found.add(joined);
    }
  };
}

/** The characters of a token, the last with what marks the end of a word. */
function symbolsOf(word: string, suffix: string): string[] {
  const ends = suffix !== "" && word.endsWith(suffix) && word !== suffix;
  const parts = Array.from(ends ? word.slice(0, -suffix.length) : word);
  const last = parts.pop();
  return last === undefined ? [] : [...parts, ends ? `${last}${suffix}` : last];
}

/** The longest token that the rest of a word begins with, again and again. */
function byLongest({ ids, model }: Vocabulary): Formed {
  const prefix = settingOf(model, "continuing_subword_prefix");
  return (word) => {
    const inside = prefix !== "" && word.startsWith(prefix);
    const characters = Array.from(inside ? word.slice(prefix.length) : word);
    const found: string[] = [];
    for (let start = 0; start < characters.length; ) {
      let end = characters.length;
      const token = (): string => `${start > 0 || inside ? prefix : ""}${characters.slice(start, end).join("")}`;
      while (end > start && !ids.has(token())) end--;
      if (end === start) break;
      found.push(token());
      start = end;
    }
    return found;
  };
}
