import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import { int } from "../graph/attributes.ts";
import { type DType, onnxNumberOf } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import type { HostTensor, TensorRef } from "../tensor/tensor.ts";

/** Which inputs and outputs of a train step are tensors of the state, by the names that they have there. */
export interface StepState {
  /** The input for a tensor of the state; `initial` is what it holds before the first step, converted to `dtype`. */
  slot(name: string, initial?: HostTensor | TensorRef, dtype?: DType): Value;
  /** Turns a constant of the model into an input and gives it; halves are kept as f32 and cast where they are read. */
  parameter(name: string): Value;
  /** Says what a tensor of the state becomes. */
  write(name: string, value: Value): void;
  readonly reads: ReadonlyMap<string, string>;
  readonly writes: ReadonlyMap<string, string>;
  readonly initial: ReadonlyMap<string, HostTensor | TensorRef>;
}

/** Starts with a state in which nothing is. `constants` are those of the model. */
export function stepState(g: Algebra, constants: ReadonlyMap<string, TensorRef>): StepState {
  const inputs = new Map<string, Value>();
  const reads = new Map<string, string>();
  const writes = new Map<string, string>();
  const initial = new Map<string, HostTensor | TensorRef>();

  function add(name: string, input: Value, first: HostTensor | TensorRef): Value {
    inputs.set(name, input);
    reads.set(input.name, name);
    initial.set(name, first);
    return input;
  }

  return {
    reads,
    writes,
    initial,
    slot: (name, first, dtype) => {
      const known = inputs.get(name);
      if (known !== undefined) return known;
      if (first === undefined) throw missing(name, "a first value");
      return add(name, g.input(g.draft.fresh(name), dtype ?? first.dtype, first.shape), first);
    },
    parameter: (name) => {
      const known = inputs.get(name);
      if (known !== undefined) return known;
      const ref = constants.get(name);
      if (ref === undefined) throw missing(name, "a constant of the model");
      g.draft.removeConstant(name);
      if (ref.dtype === "f32" || ref.dtype === "f64") return add(name, g.input(name, ref.dtype, ref.shape), ref);
      const master = g.input(g.draft.fresh(`${name}/f32`), "f32", ref.shape);
      g.draft.op("Cast", [master.name], { to: int(onnxNumberOf(ref.dtype)) }, name);
      return add(name, master, ref);
    },
    write: (name, value) => {
      // An output has one place to go, and is no input.
      const own = writes.has(value.name) || g.draft.producer(value.name) === undefined;
      writes.set((own ? g.map("Identity", value) : value).name, name);
    },
  };
}

function missing(name: string, what: string): EspalierError {
  return new EspalierError("request", `state "${name}"`, `expected ${what}, got none.`);
}
