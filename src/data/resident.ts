import type { HostTensor } from "../tensor/tensor.ts";
import { type IndexedDataset, indexed } from "./dataset.ts";
import { fromTensors } from "./from-tensors.ts";

/** The same samples, read once into memory: for data in files that is walked many times in many orders. */
export async function resident(dataset: IndexedDataset): Promise<IndexedDataset> {
  const { inputs, labels } = await dataset.gather(Int32Array.from({ length: dataset.count }, (_, i) => i));
  const own = new Map<string, HostTensor>(inputs);
  const { batch } = dataset;
  return indexed({ ...fromTensors(own, labels, dataset.description), batch });
}
