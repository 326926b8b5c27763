import type { DType } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import type { HostTensor, Shape } from "../tensor/tensor.ts";

/** A batch: one tensor for each model input that the data feeds, axis 0 counts samples; labels where the source has them. */
export interface Batch {
  readonly inputs: ReadonlyMap<string, HostTensor>;
  /** Class of each sample, or of each of its positions, sample by sample; what is below 0 does not count. */
  readonly labels?: Int32Array;
  readonly count: number;
}

/** A finite source of samples that can be walked any number of times, in the same order each time. */
export interface Dataset {
  /** What it is, for the report: format, place, how many, preprocessing. */
  readonly description: string;
  readonly count: number;
  readonly labelled: boolean;
  /** Shape of the labels of one sample, where it has more than one: a label for each position of a text, say. */
  readonly labelShape?: Shape;
  /** Walks the samples in batches of at most `size`; in batches of exactly the model's size where its graph fixes one. */
  batches(size: number): AsyncIterable<Batch>;
}

/** Element type and shape of one sample of a tensor, without the axis that counts samples. */
export interface Feature {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** A dataset whose samples can be fetched in any order, which is what subsets and shuffles need. */
export interface IndexedDataset extends Dataset {
  /** What each sample holds, by input name. */
  readonly features: ReadonlyMap<string, Feature>;
  /** Samples in every batch, where the model fixes it. */
  readonly batch?: number;
  /** The samples at these positions, in this order. Positions lie in [0, count). */
  gather(positions: Int32Array): Promise<Batch>;
}

/** What a dataset is made from; `batches` follows from `gather`. */
export type Gatherable = Omit<IndexedDataset, "batches" | "batch"> & { readonly batch?: number | undefined };

/** A dataset over a function that fetches samples. With `batch`, a last incomplete batch is left out. Throws `data`. */
export function indexed(parts: Gatherable): IndexedDataset {
  const { description, labelled, labelShape, features, batch, gather } = parts;
  const count = batch === undefined ? parts.count : Math.floor(parts.count / batch) * batch;
  if (count < 1) {
    const needed = batch === undefined ? "at least one sample" : `at least ${batch} samples, the model's fixed batch`;
    throw new EspalierError("data", description, `expected ${needed}, got ${parts.count}.`);
  }
  return {
    description,
    count,
    labelled,
    ...(labelShape === undefined ? {} : { labelShape }),
    features,
    ...(batch === undefined ? {} : { batch }),
    gather(positions) {
      for (const position of positions) {
        if (position >= 0 && position < count) continue;
        throw new EspalierError("request", description, `expected positions below ${count}, got ${position}.`);
      }
      return gather(positions);
    },
    async *batches(size) {
      if (!Number.isInteger(size) || size < 1) {
        throw new EspalierError("request", "batch size", `expected a whole number from 1, got ${size}.`);
      }
      const step = batch ?? size;
      for (let start = 0; start < count; start += step) {
        const length = Math.min(step, count - start);
        yield await gather(Int32Array.from({ length }, (_, i) => start + i));
      }
    },
  };
}
