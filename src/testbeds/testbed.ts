import type { IndexedDataset } from "../data/dataset.ts";
import type { Model } from "../models/model.ts";

/** A trained model with data to prune and to judge it. */
export interface Testbed {
  readonly id: string;
  /** Model, test set and pool in a line, for the record of a run. */
  readonly description: string;
  readonly model: Model;
  /** Inputs from which calibration draws are made; none of them is in the test set. */
  readonly pool: IndexedDataset;
  /** Labelled. */
  readonly test: IndexedDataset;
  /** Made-up inputs in the range of real ones. */
  noise(count: number, seed: number): IndexedDataset;
}

/** A testbed whose files are not here. */
export interface Absent {
  readonly id: string;
  readonly absent: string;
}
