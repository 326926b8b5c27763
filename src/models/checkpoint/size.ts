/**
 * A size of a parameter as a checkpoint's config states it: the sum of its terms and `fixed`. From the shapes of a pruned
 * checkpoint the same terms give the fields of its new config.
 */
export interface Size {
  readonly value: number;
  readonly terms: readonly Term[];
}

/** `times` as much as a field of the config. */
export interface Term {
  readonly field: string;
  readonly value: number;
  readonly times: number;
}

/** What a field of the config says. */
export function sizeOfField(field: string, value: number): Size {
  return { value, terms: [{ field, value, times: 1 }] };
}

/** n times a size. */
export function times(size: Size, n: number): Size {
  return {
    value: size.value * n,
    terms: size.terms.map((term) => ({ ...term, times: term.times * n })),
  };
}

/** As messages print it: `2 x intermediate_size = 344`. */
export function formatSize({ value, terms }: Size): string {
  if (terms.length === 0) return String(value);
  const parts = terms.map(({ field, times: n }) => (n === 1 ? field : `${n} x ${field}`));
  return `${parts.join(" + ")} = ${value}`;
}
/** A size that no field states. */
export function fixedSize(value: number): Size {
  return { value, terms: [] };
}

/** Sizes one behind the other on an axis. */
export function plus(...sizes: readonly Size[]): Size {
  const terms = new Map<string, Term>();
  for (const term of sizes.flatMap((size) => size.terms)) {
    const before = terms.get(term.field);
    terms.set(term.field, before === undefined ? term : { ...term, times: before.times + term.times });
  }
  return { value: sizes.reduce((sum, { value }) => sum + value, 0), terms: [...terms.values()] };
}
