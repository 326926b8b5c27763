import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import type { Random } from "../../tensor/random.ts";
import type { HostTensor, Shape, TensorRef } from "../../tensor/tensor.ts";

/** "train": what the graph computes with while it learns; "hard": what is left for good. */
export type Form = "train" | "hard";

/** What an expression in the place of parameters is written with. Parameters are f32 here. */
export interface Site {
  readonly g: Algebra;
  /** The parameters that it stands in for, in their order. */
  readonly parameters: readonly Value[];
  /** A new parameter by its kind, see `initial`. */
  own(kind: string): Value;
  /** A tensor that the host gives for each run, by its kind: noise, a threshold. */
  fed(kind: string, shape: Shape): Value;
  /** Gives a value a kind by which losses and hooks find it. */
  expose(kind: string, value: Value): void;
}

/** A tensor beside a parameter. */
export interface OwnTensor {
  readonly tensor: HostTensor;
  /** False for what stays as it is, such as a mask; default true. */
  readonly trained?: boolean;
}

/** A way to compute parameters from others while the network is trained, and what they become for good. */
export interface Reparameterisation {
  readonly id: string;
  /** New tensors by kind, from the parameters that they stand beside. */
  readonly initial: (parameters: readonly TensorRef[]) => Promise<ReadonlyMap<string, OwnTensor>>;
  /** The expression of each parameter, of its shape. */
  readonly write: (site: Site, form: Form) => readonly Value[];
  /** What the host feeds for one run, by kind; "train" only. Kinds that it does not give are the caller's to feed. */
  readonly feed?: (kind: string, shape: Shape, source: Random) => HostTensor | null;
}
