import type { LoadSizes } from "./sizes.ts";

/** What it costs not to keep a rule: the model is not loaded, or it runs without something that others have. */
export type Severity = "refused" | "limited";

/** Sizes that do not keep a rule. */
export interface Breach {
  /** What was found, as messages print it. */
  readonly got: string;
  /**
   * Ways to keep the rule: each a field of the config whose value would have to be another, and those that move with it
   * in proportion. Empty where no size helps.
   */
  readonly ways: readonly (readonly string[])[];
}

/** One thing that a loader asks of sizes. */
export interface Rule {
  readonly severity: Severity;
  /** What it asks for, after "expected". */
  readonly expected: string;
  /** Why it asks. */
  readonly because: string;
  /** Where sizes do not keep it. */
  breaches(sizes: LoadSizes): readonly Breach[];
}

/** A program that is to load what is written, and what it asks for. */
export interface Loader {
  /** Its name as its makers write it. */
  readonly title: string;
  /** The version that the rules were read from. */
  readonly version: string;
  /** What it loads: a checkpoint folder, or ONNX that was exported from one. */
  readonly reads: "checkpoint" | "onnx";
  /** The device that it runs ONNX on, which tells whether it has the operators of a model. */
  readonly device?: "cpu" | "wasm";
  /** Of limits, what costs most stands first. */
  readonly rules: readonly Rule[];
}
