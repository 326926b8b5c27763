import { EspalierError } from "../tensor/error.ts";
import { random } from "../tensor/random.ts";
import { type IndexedDataset, indexed } from "./dataset.ts";
import { concatenated } from "./subset.ts";

/** A source of a mixture and how much of it is wanted, relative to the others. */
export interface Ingredient {
  readonly data: IndexedDataset;
  readonly weight: number;
}

/**
 * `count` samples of several datasets in proportion to their weights, exact to one sample, in an order that the seed
 * decides. A source that is too small is used again from the start, in another order. Throws `request`, and `data`
 * unless all have the same inputs.
 */
export function mixture(ingredients: readonly Ingredient[], count: number, seed: number): IndexedDataset {
  const total = ingredients.reduce((sum, { weight }) => sum + weight, 0);
  const wrong = ingredients.find(({ weight }) => !(weight >= 0 && weight < Number.POSITIVE_INFINITY));
  if (wrong !== undefined || total <= 0 || !Number.isInteger(count) || count < 1) {
    const got = `${ingredients.map(({ weight }) => weight).join(", ")} for ${count} samples`;
    throw new EspalierError(
      "request",
      "mixture",
      `expected weights from 0, not all 0, and a count from 1, got ${got}.`,
    );
  }
  const all = concatenated(ingredients.map(({ data }) => data));
  const positions = new Int32Array(count);
  let [filled, reached, start] = [0, 0, 0];
  for (const [index, { data, weight }] of ingredients.entries()) {
    reached += weight;
    const end = Math.round((count * reached) / total);
    for (let round = 0; filled < end; round++) {
      const order = random(seed, "mixture", index, round).sample(data.count, end - filled);
      for (const position of order) positions[filled++] = start + position;
    }
    start += data.count;
  }
  return picked(all, positions, random(seed, "mixture").permutation(count), `${count} mixed with seed ${seed}`);
}

/**
 * The same number of samples of every class, drawn by the seed, in random order. Reads the labels of the whole dataset
 * once. Throws `data` where a class has fewer, or labels are missing.
 */
export async function balanced(dataset: IndexedDataset, perClass: number, seed: number): Promise<IndexedDataset> {
  const byClass = new Map<number, number[]>();
  let position = 0;
  for await (const { labels, count } of dataset.batches(readAtOnce)) {
    if (labels === undefined) throw new EspalierError("data", dataset.description, "expected labels, got none.");
    for (let i = 0; i < count; i++, position++) {
      const label = labels[i] ?? 0;
      const known = byClass.get(label);
      if (known === undefined) byClass.set(label, [position]);
      else known.push(position);
    }
  }
  const chosen: number[] = [];
  for (const [label, members] of [...byClass].sort(([a], [b]) => a - b)) {
    if (members.length < perClass) {
      const message = `expected ${perClass} samples of every class, got ${members.length} of class ${label}.`;
      throw new EspalierError("data", dataset.description, message);
    }
    for (const i of random(seed, "balanced", label).sample(members.length, perClass)) chosen.push(members[i] ?? 0);
  }
  const order = random(seed, "balanced").permutation(chosen.length);
  return picked(dataset, Int32Array.from(chosen), order, `${perClass} of each class with seed ${seed}`);
}

const readAtOnce = 1000;

function picked(dataset: IndexedDataset, positions: Int32Array, order: Int32Array, how: string): IndexedDataset {
  return indexed({
    ...dataset,
    count: order.length,
    description: `${dataset.description}, ${how}`,
    gather: (wanted) => dataset.gather(wanted.map((i) => positions[order[i] ?? 0] ?? 0)),
  });
}
