import * as z from "zod";
import type { Shape } from "../../tensor/tensor.ts";

/** Name of the file that says what of the original is left. */
export const keptFile = "kept-indices.json";

/** For each axis of a tensor its positions in the original; null where the axis is whole, −1 for a place filled with zeros. */
type Positions = readonly (readonly number[] | null)[];

/** What of an original is left in a checkpoint that was pruned from it: each tensor is one of the original's at these positions. */
export interface Kept {
  /** Name of the original. */
  readonly of: string;
  /** Names that tensors have in the original, where these are others. */
  readonly names: ReadonlyMap<string, string>;
  /** Positions of the tensors that lost any, by the names that they have now. */
  readonly positions: ReadonlyMap<string, Positions>;
  /** Numbers that blocks have in the original, where some went. */
  readonly blocks?: readonly number[];
  /** Numbers that experts have there, by the number that their block has now, where some went or others have their places. */
  readonly experts?: ReadonlyMap<number, readonly number[]>;
  /** Numbers that the entries of a field of the config have there, such as tokens of vocab_size. */
  readonly entries?: ReadonlyMap<string, readonly number[]>;
}

/**
 * What is left after two prunings, the second of what the first left; `tensors` are names of what is left now. Where there was
 * no first, it is what the second left.
 */
export function keptThrough(first: Kept | undefined, second: Kept, tensors: Iterable<string>): Kept {
  if (first === undefined) return second;
  const names = new Map<string, string>();
  const positions = new Map<string, Positions>();
  for (const name of tensors) {
    const middle = second.names.get(name) ?? name;
    const original = first.names.get(middle) ?? middle;
    if (original !== name) names.set(name, original);
    const [before, now] = [first.positions.get(middle), second.positions.get(name)];
    const both = now?.map((axis, i) => at(before?.[i] ?? null, axis)) ?? before;
    if (both !== undefined) positions.set(name, both);
  }
  const blocks = second.blocks === undefined ? first.blocks : (at(first.blocks ?? null, second.blocks) ?? undefined);
  const experts = new Map<number, readonly number[]>();
  for (const block of new Set([...numbersOf(second.blocks, first.experts), ...(second.experts?.keys() ?? [])])) {
    const before = first.experts?.get(second.blocks?.[block] ?? block) ?? null;
    const both = at(before, second.experts?.get(block) ?? null);
    if (both !== null) experts.set(block, both);
  }
  const entries = new Map(first.entries);
  for (const [field, kept] of second.entries ?? [])
    entries.set(field, at(first.entries?.get(field) ?? null, kept) ?? kept);
  return {
    ...{ of: first.of, names, positions },
    ...(blocks === undefined ? {} : { blocks }),
    ...(experts.size === 0 ? {} : { experts }),
    ...(entries.size === 0 ? {} : { entries }),
  };
}

/** Numbers of blocks now whose experts may have been told of before. */
function numbersOf(blocks: Kept["blocks"], experts: Kept["experts"]): readonly number[] {
  return blocks === undefined ? [...(experts?.keys() ?? [])] : blocks.map((_, i) => i);
}

/** Positions of positions; null where all are. */
function at(first: readonly number[] | null, second: readonly number[] | null): readonly number[] | null {
  if (first === null || second === null) return first ?? second;
  return second.map((position) => (position < 0 ? position : (first[position] ?? -1)));
}

/** kept-indices.json. Lists that are the same are written once, and named by their numbers. */
export function keptText({ of, names, positions, blocks, experts, entries }: Kept): string {
  const lists: string[] = [];
  const numbers = new Map<string, number>();
  const tensors = [...positions].map(([name, axes]) => {
    const axesAsNumbers = axes.map((axis) => {
      if (axis === null) return null;
      const text = JSON.stringify(axis);
      const number = numbers.get(text) ?? lists.push(text) - 1;
      numbers.set(text, number);
      return number;
    });
    return entry(name, axesAsNumbers);
  });
  const parts = [
    entry("version", 1),
    entry("of", of),
    ...(blocks === undefined ? [] : [entry("blocks", blocks)]),
    ...(experts === undefined ? [] : [entry("experts", Object.fromEntries(experts))]),
    ...(entries === undefined ? [] : [entry("entries", Object.fromEntries(entries))]),
    `"names": ${lines(
      "{}",
      [...names].map(([name, original]) => entry(name, original)),
    )}`,
    `"lists": ${lines("[]", lists)}`,
    `"tensors": ${lines("{}", tensors)}`,
  ];
  return `{\n  ${parts.join(",\n  ")}\n}\n`;
}

const entry = (key: string, value: unknown): string => `${JSON.stringify(key)}: ${JSON.stringify(value)}`;

/** One line for each part, between brackets. */
function lines(brackets: "{}" | "[]", parts: readonly string[]): string {
  const [open, close] = brackets;
  return parts.length === 0 ? brackets : `${open}\n    ${parts.join(",\n    ")}\n  ${close}`;
}

const numbers = z.array(z.int().min(-1));
const keptShape = z.object({
  version: z.literal(1),
  of: z.string(),
  blocks: numbers.optional(),
  experts: z.record(z.string().regex(/^\d+$/), numbers).optional(),
  entries: z.record(z.string(), numbers).optional(),
  names: z.record(z.string(), z.string()),
  lists: z.array(numbers),
  tensors: z.record(z.string(), z.array(z.int().min(0).nullable())),
});

/**
 * Reads what kept-indices.json says of a checkpoint with these tensors. Null where it says something else: files of that name
 * may be anybody's, and one that belongs to other tensors tells nothing of these.
 */
export function parseKept(value: unknown, shapes: ReadonlyMap<string, { readonly shape: Shape }>): Kept | null {
  const parsed = keptShape.safeParse(value);
  if (!parsed.success) return null;
  const { of, blocks, experts, entries, names, lists, tensors } = parsed.data;
  const positions = new Map<string, Positions>();
  for (const [name, axes] of Object.entries(tensors)) {
    const shape = shapes.get(name)?.shape;
    const found = axes.map((axis) => (axis === null ? null : lists[axis]));
    const fits = shape?.length === axes.length && found.every((list, i) => list === null || list?.length === shape[i]);
    if (!fits) return null;
    positions.set(
      name,
      found.map((list) => list ?? null),
    );
  }
  if (!Object.keys(names).every((name) => shapes.has(name))) return null;
  return {
    ...{ of, names: new Map(Object.entries(names)), positions },
    ...(blocks === undefined ? {} : { blocks }),
    ...(experts === undefined
      ? {}
      : { experts: new Map(Object.entries(experts).map(([block, list]) => [Number(block), list])) }),
    ...(entries === undefined ? {} : { entries: new Map(Object.entries(entries)) }),
  };
}
