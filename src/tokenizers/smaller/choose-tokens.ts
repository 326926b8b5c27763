import { EspalierError } from "../../tensor/error.ts";
import type { Needed } from "./needed.ts";
import type { Vocabulary } from "./vocabulary.ts";

export interface TokenBudget {
  /** Rows of the embedding; those behind the last token belong to none. */
  readonly rows: number;
  /** At most so many rows stay; all tokens that texts use unless told. */
  readonly count?: number;
  /** What stays is a multiple of it: filled up with tokens that texts do not use, then with rows without a token. */
  readonly roundTo?: number;
  /** Rows that stay in any case, with what is formed on the way to their tokens. */
  readonly keep?: Iterable<number>;
}

export interface ChosenTokens {
  /** Rows that stay, in their order. */
  readonly kept: readonly number[];
  /** How many of them texts use, and how many stay to fill up. */
  readonly used: number;
  readonly filled: number;
}

/**
 * Chooses tokens by how often texts use them, `counts` by id: the most frequent first, each with what is formed on the way to
 * it. Of those that are used as often as each other, and of those that are not used at all, the ones first that the makers of
 * the vocabulary found first. Throws `request` where fewer are asked for than cannot go.
 */
export function chooseTokens(
  vocabulary: Vocabulary,
  { always, with: together }: Needed,
  counts: ArrayLike<number>,
  { rows, count, roundTo = 1, keep = [] }: TokenBudget,
  where: string,
): ChosenTokens {
  const kept = new Set([...always, ...[...keep].flatMap(together)]);
  const upwards = (n: number): number => Math.min(rows, Math.ceil(n / roundTo) * roundTo);
  const most = count === undefined ? rows : Math.max(Math.min(count, rows) - (Math.min(count, rows) % roundTo), 0);
  const least = upwards(kept.size);
  if (most < least) {
    const message = `expected at least ${least} tokens, got ${most}.`;
    const hint = "Special and added tokens, single characters and bytes always stay, so that any text has tokens.";
    throw new EspalierError("request", where, message, hint);
  }
  const add = (ids: Iterable<number>, room: number): void => {
    for (const id of ids) {
      if (kept.has(id)) continue;
      const missing = new Set(together(id).filter((one) => !kept.has(one)));
      if (kept.size + missing.size <= room) for (const one of missing) kept.add(one);
    }
  };
  const order = byOrigin(vocabulary);
  const used = order.filter((id) => (counts[id] ?? 0) > 0).sort((a, b) => (counts[b] ?? 0) - (counts[a] ?? 0));
  add(used, most);
  const chosen = kept.size;
  const goal = count === undefined ? upwards(chosen) : most;
  add(order, goal);
  for (let row = 0; row < rows && kept.size < goal; row++) if (!vocabulary.tokens.has(row)) kept.add(row);
  const list = [...kept].sort((a, b) => a - b);
  return { kept: list, used: list.filter((id) => (counts[id] ?? 0) > 0).length, filled: kept.size - chosen };
}

/** Ids in the order in which a vocabulary came to be: by merges, by scores, else by ids, which begin with frequent ones. */
function byOrigin({ kind, tokens, ids, merges, scores }: Vocabulary): readonly number[] {
  const all = [...tokens.keys()].sort((a, b) => a - b);
  if (kind === "WordPiece") return all;
  if (kind === "Unigram") return all.sort((a, b) => (scores[b] ?? 0) - (scores[a] ?? 0));
  const ranks = new Map<number, number>();
  for (const [rank, [left, right]] of merges.entries()) {
    const id = ids.get(`${left}${right}`);
    if (id !== undefined && !ranks.has(id)) ranks.set(id, rank);
  }
  return all.sort((a, b) => (ranks.get(a) ?? merges.length) - (ranks.get(b) ?? merges.length));
}
