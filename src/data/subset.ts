import { EspalierError } from "../tensor/error.ts";
import { random } from "../tensor/random.ts";
import { formatShape, type HostTensor } from "../tensor/tensor.ts";
import { type Batch, type IndexedDataset, indexed } from "./dataset.ts";

/** The first `n` samples, or all where there are fewer. */
export function take(dataset: IndexedDataset, n: number): IndexedDataset {
  checkCount(n);
  if (n >= dataset.count) return dataset;
  return indexed({ ...dataset, count: n, description: `${dataset.description}, first ${n}` });
}

/** All samples but the first `n`. Throws `data` where none is left. */
export function skip(dataset: IndexedDataset, n: number): IndexedDataset {
  checkCount(n);
  return indexed({
    ...dataset,
    count: dataset.count - n,
    description: `${dataset.description}, without the first ${n}`,
    gather: (positions) => dataset.gather(positions.map((position) => position + n)),
  });
}

/** All samples in an order that the seed decides. */
export function shuffled(dataset: IndexedDataset, seed: number): IndexedDataset {
  const order = random(seed, "shuffle").permutation(dataset.count);
  return reordered(dataset, order, `${dataset.description}, shuffled with seed ${seed}`);
}

/** `n` different samples that the seed decides, in random order; those of a smaller `n` come first in a larger one. */
export function sample(dataset: IndexedDataset, n: number, seed: number): IndexedDataset {
  checkCount(n);
  const order = random(seed, "shuffle").sample(dataset.count, n);
  return reordered(dataset, order, `${dataset.description}, ${order.length} drawn with seed ${seed}`);
}

/** Datasets one after the other. Throws `data` unless all have the same inputs and all or none have labels. */
export function concatenated(datasets: readonly IndexedDataset[]): IndexedDataset {
  const [first, ...others] = datasets;
  if (first === undefined) throw new EspalierError("request", "data", "expected at least one dataset, got none.");
  for (const other of others) checkAlike(first, other);
  const starts = new Int32Array(datasets.length);
  let count = 0;
  for (const [i, dataset] of datasets.entries()) {
    starts[i] = count;
    count += dataset.count;
  }
  return indexed({
    ...first,
    count,
    description: datasets.map((dataset) => dataset.description).join(" + "),
    async gather(positions) {
      const pieces: Batch[] = [];
      for (let i = 0; i < positions.length; ) {
        const part = partOf(starts, positions[i] ?? 0);
        const end = starts[part + 1] ?? count;
        let stop = i + 1;
        while (stop < positions.length && inside(positions[stop] ?? 0, starts[part] ?? 0, end)) stop++;
        const local = positions.slice(i, stop).map((position) => position - (starts[part] ?? 0));
        const dataset = datasets[part];
        if (dataset !== undefined) pieces.push(await dataset.gather(local));
        i = stop;
      }
      return joined(pieces);
    },
  });
}

/** The same data under the names of a model's inputs: `names` maps old to new, others stay. Throws `request`. */
export function renamed(dataset: IndexedDataset, names: ReadonlyMap<string, string>): IndexedDataset {
  for (const name of names.keys()) {
    if (dataset.features.has(name)) continue;
    const known = [...dataset.features.keys()].slice(0, 5).join(", ");
    throw new EspalierError("request", "rename", `expected one of ${known}, got "${name}".`);
  }
  const features = new Map([...dataset.features].map(([name, feature]) => [names.get(name) ?? name, feature]));
  if (features.size < dataset.features.size) {
    throw new EspalierError("request", "rename", "expected different names, got one twice.");
  }
  return indexed({
    ...dataset,
    features,
    async gather(positions) {
      const batch = await dataset.gather(positions);
      return {
        ...batch,
        inputs: new Map([...batch.inputs].map(([name, tensor]) => [names.get(name) ?? name, tensor])),
      };
    },
  });
}

function reordered(dataset: IndexedDataset, order: Int32Array, description: string): IndexedDataset {
  return indexed({
    ...dataset,
    count: order.length,
    description,
    gather: (positions) => dataset.gather(positions.map((position) => order[position] ?? 0)),
  });
}

function checkCount(n: number): void {
  if (Number.isInteger(n) && n >= 1) return;
  throw new EspalierError("request", "number of samples", `expected a whole number from 1, got ${n}.`);
}

function checkAlike(first: IndexedDataset, other: IndexedDataset): void {
  const expected = describeFeatures(first);
  const got = describeFeatures(other);
  if (expected !== got) throw new EspalierError("data", other.description, `expected samples ${expected}, got ${got}.`);
  if (first.labelled === other.labelled) return;
  throw new EspalierError(
    "data",
    other.description,
    "expected labels in all parts or in none, got some with and some without.",
  );
}

function describeFeatures(dataset: IndexedDataset): string {
  return [...dataset.features].map(([name, f]) => `${name} ${f.dtype} ${formatShape(f.shape)}`).join(", ");
}

function inside(position: number, start: number, end: number): boolean {
  return position >= start && position < end;
}

function partOf(starts: Int32Array, position: number): number {
  let part = 0;
  while (part + 1 < starts.length && position >= (starts[part + 1] ?? 0)) part++;
  return part;
}

function joined(pieces: readonly Batch[]): Batch {
  const [first] = pieces;
  if (first !== undefined && pieces.length === 1) return first;
  const count = pieces.reduce((sum, piece) => sum + piece.count, 0);
  const inputs = new Map<string, HostTensor>();
  for (const [name, tensor] of first?.inputs ?? []) {
    if (tensor.shape.length === 0) {
      inputs.set(name, tensor);
      continue;
    }
    const parts = pieces.map((piece) => piece.inputs.get(name)?.bytes ?? new Uint8Array(0));
    const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      bytes.set(part, at);
      at += part.length;
    }
    inputs.set(name, { dtype: tensor.dtype, shape: [count, ...tensor.shape.slice(1)], bytes });
  }
  if (first?.labels === undefined) return { inputs, count };
  return { inputs, count, labels: Int32Array.from(pieces.flatMap((piece) => [...(piece.labels ?? [])])) };
}
