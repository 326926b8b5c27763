import type { IndexedDataset } from "../data/dataset.ts";
import type { Graph } from "../graph/graph.ts";
import type { Model } from "../models/model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Lessons } from "./learn.ts";

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
  /** Of a language model: text of another kind, which stands for all that it should not forget. */
  readonly general?: Pick<Testbed, "pool" | "test"> & { readonly description: string };
  /** Made-up inputs in the range of real ones. */
  noise(count: number, seed: number): IndexedDataset;
  /** How the model came about, where it was trained here. */
  readonly course?: Course;
}

/** What it takes to train a testbed's model again: from its first parameters, from others, or after a cut. */
export interface Course {
  /** Labelled; neither in the pool nor in the test set. */
  readonly train: IndexedDataset;
  readonly lessons: Lessons;
  /** Parameters that no role names but that are trained. */
  readonly more: readonly string[];
  /** The model before training. The testbed's own has seed 0. */
  untrained(runtime: Runtime, seed: number): Promise<Graph>;
  /** This model, or what a cut left of it, with first parameters by the fans that it has. */
  redrawn(graph: Graph, runtime: Runtime, seed: number): Promise<Graph>;
}

/** A testbed whose files are not here. */
export interface Absent {
  readonly id: string;
  readonly absent: string;
}
