import type { HostTensor } from "../tensor/tensor.ts";

/** A batch: one tensor for each model input that the data feeds, axis 0 counts samples; labels where the source has them. */
export interface Batch {
  readonly inputs: ReadonlyMap<string, HostTensor>;
  /** Class of each sample. */
  readonly labels?: Int32Array;
  readonly count: number;
}

/** A finite source of samples that can be walked any number of times, in the same order each time. */
export interface Dataset {
  /** What it is, for the report: format, place, how many, preprocessing. */
  readonly description: string;
  readonly count: number;
  readonly labelled: boolean;
  /** Walks the samples in batches of at most `size`. */
  batches(size: number): AsyncIterable<Batch>;
}
