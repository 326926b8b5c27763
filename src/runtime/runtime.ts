import type { Feeds, Graph, TensorType } from "../graph/graph.ts";
import type { HostTensor } from "../tensor/tensor.ts";

export type Device = "cpu" | "wasm" | "webgpu" | "cuda";

export type RunMemory = "planned" | "kept" | "freed";

export interface SessionOptions {
  /** Runtime threads of one operator; default: the runtime's own of the `Runtime`. */
  readonly threads?: number;
  /** Graph optimisation of the runtime; default "all". */
  readonly optimisation?: "disabled" | "basic" | "extended" | "all";
  /** Weights are repacked for speed, in memory of their own; default true. Else those of files stay mapped. */
  readonly repack?: boolean;
  /**
   * What becomes of the memory of a run: the next one is laid out as this one turned out, in one piece besides the pieces of this one
   * (default; short runs gain); it is kept as it is, half as much; or it is given back, which costs large runs some 5 %.
   */
  readonly memory?: RunMemory;
}

/**
 * Named tensors that stay beside the runtime between runs: what one run gives is fed to the next without passing through
 * the caller. Release it: it holds memory that the garbage collector does not see.
 */
export interface State {
  /** Sets or replaces tensors. */
  set(tensors: ReadonlyMap<string, HostTensor>): Promise<void>;
  /** Copies of tensors, all when none are named. Throws `request` for names that are not there. */
  get(names?: readonly string[]): Promise<ReadonlyMap<string, HostTensor>>;
  release(): Promise<void>;
}

/** Which tensors of a state a run reads and writes. */
export interface Carry {
  readonly state: State;
  /** Inputs that are fed from the state, with the names that they have there. */
  readonly reads: ReadonlyMap<string, string>;
  /** Outputs that go into the state instead of to the caller, with the names that they get there. */
  readonly writes: ReadonlyMap<string, string>;
  /** An output: where it holds a value that is not finite, nothing is written and the state stays as it was. */
  readonly guard?: string;
}

/** A compiled graph. Release it: sessions hold memory that the garbage collector does not see. */
export interface Session {
  readonly outputs: readonly string[];
  /**
   * Runs once. `fetch` limits which outputs come back; those that `carry` writes do not. What `into` names is written over the tensor
   * given there, of its type and size, instead of into new memory.
   */
  run(
    feeds: Feeds,
    fetch?: readonly string[],
    carry?: Carry,
    into?: ReadonlyMap<string, HostTensor>,
  ): Promise<ReadonlyMap<string, HostTensor>>;
  release(): Promise<void>;
}

/** Latency of one session in milliseconds over interleaved, warmed-up runs. */
export interface Latency {
  readonly medianMs: number;
  readonly p10Ms: number;
  readonly p90Ms: number;
  readonly runs: number;
}

/** ONNX Runtime on one device. Where the platform allows, it runs beside the calling thread, which stays free. */
export interface Runtime {
  readonly device: Device;
  readonly threads: number;
  /** Name and version of the package that runs, for the report. */
  readonly version: string;
  /** What the user should know about how this runtime came to be: a device that was asked for and is not there. */
  readonly notes: readonly string[];
  /**
   * Channels that convolutions of this processor keep together in memory, with forms of their own (com.microsoft.nchwc: 8 with
   * AVX2, 16 with AVX-512); 0 where it has none. The runtime uses them by itself for constant weights only.
   */
  readonly channelBlock: number;
  /** Opens a processor's runtime whose results those of this device are to be compared with; absent on processors. */
  readonly reference?: () => Promise<Runtime>;
  compile(graph: Graph, options?: SessionOptions): Promise<Session>;
  /** An empty state. */
  state(): Promise<State>;
  /**
   * Types of every value of the graph (not of its subgraphs) at the given input types, by compiling and not running.
   * Only for values that stay unknown the graph is run once on made-up inputs, so a shape that depends on data is the
   * one of that run. What cannot be learnt (sequences, types that cannot be read, a run that fails) is absent.
   */
  types(graph: Graph, inputs: ReadonlyMap<string, TensorType>): Promise<ReadonlyMap<string, TensorType>>;
  /** Interleaved latency of several sessions on the same feeds: A B C A B C ..., after warm-up. */
  measure(
    sessions: readonly { readonly session: Session; readonly feeds: Feeds }[],
    options?: { readonly runs?: number; readonly warmup?: number; readonly maxSeconds?: number },
  ): Promise<readonly Latency[]>;
  close(): Promise<void>;
}
