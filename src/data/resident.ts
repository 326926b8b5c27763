import { type IndexedDataset, indexed } from "./dataset.ts";
import { fromTensors } from "./from-tensors.ts";

/** The same samples, read once into memory: for data in files that is walked many times in many orders. */
export async function resident(dataset: IndexedDataset): Promise<IndexedDataset> {
  const { inputs, labels } = await dataset.gather(Int32Array.from({ length: dataset.count }, (_, i) => i));
  // An input without axes is one number for every batch.
  const single = new Map([...inputs].filter(([, { shape }]) => shape.length === 0));
  const own = new Map([...inputs].filter(([name]) => !single.has(name)));
  const held = fromTensors(own, labels, dataset.description);
  if (single.size === 0) return indexed({ ...held, batch: dataset.batch });
  return indexed({
    ...held,
    batch: dataset.batch,
    features: dataset.features,
    gather: async (positions) => {
      const batch = await held.gather(positions);
      return { ...batch, inputs: new Map([...batch.inputs, ...single]) };
    },
  });
}
