import type { Json } from "../../formats/checkpoint/json.ts";
import { missingFields } from "../checkpoint/branches.ts";
import type { CheckpointModel } from "../checkpoint/checkpoint-model.ts";
import type { Resized } from "../checkpoint/resize.ts";
import { formatSize, type Size, type Term } from "../checkpoint/size.ts";

/** Sizes of a checkpoint as they would be written, in the words of its config. */
export interface LoadSizes {
  /** `model_type`. */
  readonly type: string;
  readonly blocks: number;
  /** The config before any change, for what is not a size. */
  readonly config: Json;
  /** Fields that sizes are made of: the value of each in every stage that has it, in order, each value once. */
  readonly fields: ReadonlyMap<string, readonly number[]>;
  /** The least number of features that each unit of a field stands for in any size: of a head, those of one head. */
  readonly features: ReadonlyMap<string, number>;
  /** Sizes of the rows in which matrices lie, which is what they sum over. */
  readonly rows: readonly RowSize[];
  /** True where tokens went that a tokenizer of bytes had. */
  readonly bytesWent: boolean;
  /** The same with other values of some fields, in every block. */
  at(changes: ReadonlyMap<string, number>): LoadSizes;
}

export interface RowSize {
  /** As messages print it, without the value: `2 x intermediate_size`. */
  readonly name: string;
  readonly fields: readonly string[];
  /** Each value once, in the order of stages. */
  readonly values: readonly number[];
}

/** A size that occurs in stages, and its terms there. */
interface Slot {
  readonly name: string;
  readonly fixed: number;
  readonly stages: Map<number | undefined, readonly Term[]>;
  /** The terms of all stages, each once. */
  readonly different: (readonly Term[])[];
}

type Change = Pick<Resized, "fields" | "perBlock">;

/** Sizes of a model, or those that it has after a change. */
export function loadSizes(
  model: CheckpointModel,
  change: Change = { fields: new Map(), perBlock: new Map() },
  { bytesWent = false }: Partial<Pick<LoadSizes, "bytesWent">> = {},
): LoadSizes {
  const fields = new Map<string, Map<number | undefined, number>>();
  const features = new Map<string, number>();
  const slots = new Map<string, Slot>();
  for (const { block, parameters } of model.stages) {
    for (const sizes of parameters.values()) {
      for (const { field, value, times } of sizes.flatMap(({ terms }) => terms)) {
        put(fields, field).set(block, value);
        features.set(field, Math.min(times, features.get(field) ?? times));
      }
      const row = sizes.length === 2 ? sizes[1] : undefined;
      if (row === undefined) continue;
      const slot: Slot = slots.get(nameOf(row)) ?? {
        name: nameOf(row),
        fixed: fixedOf(row),
        stages: new Map(),
        different: [],
      };
      slots.set(slot.name, slot);
      if (!slot.different.some((terms) => isSame(terms, row.terms))) slot.different.push(row.terms);
      slot.stages.set(block, row.terms);
    }
  }
  const blocks = model.outline.blocks.length;
  const { config } = model.checkpoint;
  // What single blocks have none of comes last: the first value is that of blocks that have some.
  for (const [block, field] of missingFields(model)) if (fields.has(field)) put(fields, field).set(block, 0);
  return sizesOf(
    { type: model.type, blocks, config, before: fields, features, slots: [...slots.values()], bytesWent },
    change,
  );
}

/** What a model states, before any change. */
interface Stated {
  readonly type: string;
  readonly blocks: number;
  readonly config: Json;
  readonly before: ReadonlyMap<string, ReadonlyMap<number | undefined, number>>;
  readonly features: ReadonlyMap<string, number>;
  readonly slots: readonly Slot[];
  readonly bytesWent: boolean;
}

function sizesOf(stated: Stated, change: Change): LoadSizes {
  const { type, blocks, config, before, features, slots, bytesWent } = stated;
  const value = (field: string, block: number | undefined, otherwise: number): number =>
    (block === undefined ? undefined : change.perBlock.get(block)?.get(field)) ?? change.fields.get(field) ?? otherwise;
  const isEven = change.perBlock.size === 0;
  const total = ({ fixed }: Slot, block: number | undefined, terms: readonly Term[]): number =>
    terms.reduce((sum, term) => sum + term.times * value(term.field, block, term.value), fixed);
  return {
    ...{ type, blocks, config },
    features,
    bytesWent,
    fields: new Map(
      [...before].map(([field, stages]) => [
        field,
        isEven && change.fields.has(field)
          ? [change.fields.get(field) ?? 0]
          : once([...stages].map(([block, otherwise]) => value(field, block, otherwise))),
      ]),
    ),
    rows: slots.map((slot) => ({
      name: slot.name,
      fields: once([...slot.stages.values()].flatMap((terms) => terms.map(({ field }) => field))),
      values: isEven
        ? once(slot.different.map((terms) => total(slot, undefined, terms)))
        : once([...slot.stages].map(([block, terms]) => total(slot, block, terms))),
    })),
    at: (changes) => {
      const perBlock = [...change.perBlock].map(
        ([block, own]) => [block, new Map([...own].filter(([field]) => !changes.has(field)))] as const,
      );
      return sizesOf(stated, {
        fields: new Map([...change.fields, ...changes]),
        perBlock: new Map(perBlock),
      });
    },
  };
}

function isSame(a: readonly Term[], b: readonly Term[]): boolean {
  return a.length === b.length && a.every(({ field, value }, i) => b[i]?.field === field && b[i]?.value === value);
}

/** The terms of a size without their value. */
function nameOf(size: Size): string {
  return size.terms.length === 0 ? String(size.value) : formatSize(size).replace(/ = \d+$/, "");
}

function fixedOf({ value, terms }: Size): number {
  return value - terms.reduce((sum, term) => sum + term.times * term.value, 0);
}

function put<K, A, B>(maps: Map<K, Map<A, B>>, key: K): Map<A, B> {
  const found = maps.get(key) ?? new Map<A, B>();
  maps.set(key, found);
  return found;
}

function once<T>(values: readonly T[]): readonly T[] {
  return [...new Set(values)];
}
