import type { Json } from "../../formats/checkpoint/json.ts";
import { formatShape, type Shape } from "../../tensor/tensor.ts";
import type { CheckpointModel, Stage } from "./checkpoint-model.ts";
import { formatSize, type Size } from "./size.ts";

/** What the fields of a config have to be for parameters of other shapes. */
export interface Resized {
  /** Fields that are the same everywhere and changed. */
  readonly fields: ReadonlyMap<string, number>;
  /** Fields that differ from block to block, as they are in each. */
  readonly perBlock: ReadonlyMap<number, ReadonlyMap<string, number>>;
  /** Why no config says these shapes; empty where one does. */
  readonly problems: readonly string[];
}

/** Finds the fields that `shapes` ask for; parameters that it does not name keep their shapes. */
export function resized(model: CheckpointModel, shapes: ReadonlyMap<string, Shape>): Resized {
  const problems: string[] = [];
  const found = model.stages.map((stage) => ({ stage, values: solve(stage, shapes, problems) }));
  const fields = new Map<string, number>();
  const perBlock = new Map<number, Map<string, number>>();
  for (const name of new Set(found.flatMap(({ values }) => [...values.keys()]))) {
    const stages = found.filter(({ values }) => values.has(name));
    const all = new Set(stages.map(({ values }) => values.get(name)?.now));
    const changed = stages.some(({ values }) => values.get(name)?.now !== values.get(name)?.before);
    const [only] = all;
    if (all.size === 1 && only !== undefined) {
      const fixed = model.outline.fixed?.[name];
      if (changed && fixed !== undefined) problems.push(`${name} has to stay, since ${fixed}`);
      else if (changed) fields.set(name, only);
      continue;
    }
    if (stages.some(({ stage }) => stage.block === undefined)) {
      problems.push(`${name} would be ${[...all].join(" here and ")} there, and the embedding and the head share it`);
      continue;
    }
    for (const { stage, values } of stages) {
      const block = stage.block ?? 0;
      const own = perBlock.get(block) ?? new Map<string, number>();
      perBlock.set(block, own.set(name, values.get(name)?.now ?? 0));
    }
  }
  return { fields, perBlock, problems };
}

/** The config of a model with these fields, and with what follows from them. */
export function resizedConfig(
  { checkpoint: { config }, outline }: CheckpointModel,
  { fields, perBlock }: Resized,
): Json {
  if (fields.size === 0 && perBlock.size === 0) return config;
  const epsilons: Record<string, number> = {};
  const stated: Json = { ...config, ...outline.explicit };
  for (const [field, counts] of Object.entries(outline.epsilons ?? {})) {
    const [epsilon, before, now] = [stated[field], stated[counts], fields.get(counts)];
    if (typeof epsilon === "number" && typeof before === "number" && now !== undefined)
      epsilons[field] = (epsilon * before) / now;
  }
  const { [uneven]: before, ...even } = { ...stated, ...Object.fromEntries(fields), ...epsilons };
  const own = ownOf(before, { fields, perBlock });
  return own === null ? even : { ...even, [uneven]: own };
}

/** The field of a config that says what differs from block to block. */
const uneven = "per_layer_config";

/** What blocks have of their own now; what they had and the config says for all of them now is gone, but for what they have none of. Null where it is nothing. */
function ownOf(before: unknown, { fields, perBlock }: Omit<Resized, "problems">): Json | null {
  const told = new Set([...fields.keys(), ...[...perBlock.values()].flatMap((values) => [...values.keys()])]);
  const blocks = new Map<string, Map<string, unknown>>();
  for (const [block, values] of entriesOf(before)) {
    blocks.set(block, new Map(entriesOf(values).filter(([field, value]) => value === 0 || !told.has(field))));
  }
  for (const [block, values] of perBlock) {
    blocks.set(String(block), new Map([...(blocks.get(String(block)) ?? []), ...values]));
  }
  const left = [...blocks].filter(([, values]) => values.size > 0);
  return left.length === 0
    ? null
    : Object.fromEntries(left.map(([block, values]) => [block, Object.fromEntries(values)]));
}

const entriesOf = (value: unknown): [string, unknown][] =>
  typeof value === "object" && value !== null ? Object.entries(value) : [];

interface Value {
  readonly before: number;
  readonly now: number;
}

/** Fields of one stage: first those that stand alone in a size, then those that remain where others are known. */
function solve(stage: Stage, shapes: ReadonlyMap<string, Shape>, problems: string[]): ReadonlyMap<string, Value> {
  const values = new Map<string, Value>();
  const open: { readonly name: string; readonly axis: number; readonly size: Size; readonly now: number }[] = [];
  for (const [name, sizes] of stage.parameters) {
    const shape = shapes.get(name) ?? sizes.map(({ value }) => value);
    if (shape.length !== sizes.length) {
      problems.push(`${name} would have shape ${formatShape(shape)}`);
      continue;
    }
    for (const [axis, size] of sizes.entries()) open.push({ name, axis, size, now: shape[axis] ?? 0 });
  }
  for (let rest = open; rest.length > 0; ) {
    const later: typeof open = [];
    for (const one of rest) {
      const { size, now } = one;
      const fixed = size.value - size.terms.reduce((sum, term) => sum + term.times * term.value, 0);
      const unknown = size.terms.filter(({ field }) => !values.has(field));
      if (unknown.length > 1) {
        later.push(one);
        continue;
      }
      const others = size.terms.reduce((sum, { field, times }) => sum + times * (values.get(field)?.now ?? 0), fixed);
      const [term] = unknown;
      if (term === undefined) {
        if (others !== now)
          problems.push(`${one.name} would have ${now} on axis ${one.axis}, not ${others} as others say`);
        continue;
      }
      const field = (now - others) / term.times;
      if (Number.isInteger(field) && field > 0) values.set(term.field, { before: term.value, now: field });
      else
        problems.push(
          `${one.name} would have ${now} on axis ${one.axis}, which is ${formatSize(size)} for no ${term.field}`,
        );
    }
    // Where nothing tells fields apart, all but the first of them are what they were.
    const [stuck] = later.length === rest.length ? later : [];
    for (const { field, value } of stuck?.size.terms.slice(1) ?? []) {
      if (!values.has(field)) values.set(field, { before: value, now: value });
    }
    rest = later;
  }
  return values;
}
