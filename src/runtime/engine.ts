import type { DType } from "../tensor/dtype.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import type { Latency, RunMemory } from "./runtime.ts";

/** A model as a session takes it: ONNX bytes, and weights that stand beside them. */
export interface PackedModel {
  readonly bytes: Uint8Array;
  /** Weights in memory, by the location that the model's initializers name. */
  readonly external: readonly { readonly path: string; readonly data: Uint8Array }[];
  /** Folder whose files the other external locations name; the runtime maps them. */
  readonly folder?: string;
}

export interface CreateOptions {
  readonly threads: number;
  readonly optimisation: "disabled" | "basic" | "extended" | "all";
  /** For sessions that run hardly more than once: weights are neither repacked nor is memory kept for a next run. */
  readonly once: boolean;
  /** See `SessionOptions`. */
  readonly memory?: RunMemory;
}

/** Declared type of an output: dtype is null for what is not a tensor; `[]` is a scalar or an unknown rank. */
export interface OutputType {
  readonly name: string;
  readonly dtype: DType | null;
  readonly shape: readonly (number | string)[];
}

export type NamedTensors = readonly (readonly [name: string, tensor: HostTensor])[];

/** What a run takes from a state and leaves in it: pairs of a session's name and the state's. */
export interface Carried {
  readonly state: number;
  readonly reads: readonly (readonly [input: string, name: string])[];
  readonly writes: readonly (readonly [output: string, name: string])[];
  readonly guard?: string;
}

export interface MeasureOptions {
  readonly runs: number;
  readonly warmup: number;
  readonly maxSeconds: number;
}

/**
 * Sessions behind numbers, with arguments and results that can cross threads: in this thread (`ortEngine`) or
 * behind a worker. Work is done in the order of the calls, one at a time. Failures are those of the package, untranslated.
 */
export interface Engine {
  create(model: PackedModel, options: CreateOptions): Promise<number>;
  /** Compiles, reads the types of all outputs and forgets the session. */
  outputTypes(model: PackedModel): Promise<readonly OutputType[]>;
  run(
    session: number,
    feeds: NamedTensors,
    fetch: readonly string[],
    carried?: Carried,
    into?: NamedTensors,
  ): Promise<NamedTensors>;
  createState(): Promise<number>;
  setState(state: number, tensors: NamedTensors): Promise<void>;
  getState(state: number, names: readonly string[] | undefined): Promise<NamedTensors>;
  releaseState(state: number): Promise<void>;
  measure(
    jobs: readonly { readonly session: number; readonly feeds: NamedTensors }[],
    options: MeasureOptions,
  ): Promise<readonly Latency[]>;
  release(session: number): Promise<void>;
  /** Waits for what runs, releases every session and ends. */
  close(): Promise<void>;
}
