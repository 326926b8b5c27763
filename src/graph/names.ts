/** The names in use, from which fresh ones keep away. */
export class Names {
  readonly #used: Set<string>;
  readonly #counters = new Map<string, number>();

  constructor(used: Iterable<string>) {
    this.#used = new Set(used);
  }

  add(name: string): void {
    this.#used.add(name);
  }

  /** `prefix` itself or `prefix_1`, `prefix_2` .., whichever is not in use yet; it then is. */
  fresh(prefix: string): string {
    let name = prefix;
    let count = this.#counters.get(prefix) ?? 0;
    while (name === "" || this.#used.has(name)) name = `${prefix}_${++count}`;
    this.#counters.set(prefix, count);
    this.#used.add(name);
    return name;
  }
}
