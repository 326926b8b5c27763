/** Words that are remembered at once. */
const MOST = 1 << 16;

/**
 * Remembers how words are split, and forgets all of them when there are too many. In the place of the library's own cache,
 * which forgets one at a time: finding the oldest key of a Map walks over all keys that were deleted before it, and a text
 * with more different words than the cache holds took ten times as long.
 */
export class WordCache {
  readonly #known = new Map<string, string[]>();

  get(word: string): string[] | undefined {
    return this.#known.get(word);
  }

  put(word: string, tokens: string[]): void {
    if (this.#known.size >= MOST) this.#known.clear();
    this.#known.set(word, tokens);
  }

  clear(): void {
    this.#known.clear();
  }
}
