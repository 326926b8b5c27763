import { int, ints } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import { isFloat, onnxNumberOf } from "../../tensor/dtype.ts";
import { didYouMean, EspalierError } from "../../tensor/error.ts";
import { formatShape, type TensorRef } from "../../tensor/tensor.ts";
import { formatSize, type Size } from "./size.ts";

/** The matrix that makes what a norm is over: all of its outputs, or the first of them. */
export interface NormedMatrix {
  readonly matrix: string;
  readonly bias: string;
  readonly part: "all" | "first";
  /** Where its ε is from: the config, which states one for all norms, or the code of its models. */
  readonly epsilon: "config" | "code";
}

/** Where tokens find their experts, by values of the graph it is written into: [batch, time, experts] unless told. */
export interface Mixture {
  /** What the router says of each expert, and what the largest are chosen by: made from it, with what corrects it. */
  readonly logits: string;
  readonly choice: string;
  /** 1 for the experts of a token, 0 for others, and the weight that each has in the sum. */
  readonly chosen: string;
  readonly weights: string;
  /** What each expert makes of every token, before it is weighted: [batch, time, width]. */
  readonly outputs: readonly string[];
  /** Experts of a token, and the groups that they are chosen in. */
  readonly top: number;
  readonly groups?: ExpertGroups | undefined;
}

/** What a block adds to what passes it, which can go alone: an attention, or an MLP. */
export interface BlockBranch {
  readonly what: string;
  /** Fields that are 0 for a block that does not have it. */
  readonly fields: readonly string[];
  /** What passes it, what it adds, and the sum. */
  readonly bypass: string;
  readonly added: string;
  readonly sum: string;
  /** Its parameters, and those of them without which it adds nothing. */
  readonly holds: readonly string[];
  readonly last: readonly string[];
}

/** Experts are only chosen in the `best` of `count` groups, which are ranked by their best or by the sum of their two best. */
export interface ExpertGroups {
  readonly count: number;
  readonly best: number;
  readonly rank: "best" | "two best";
}

/** Where the parameters of a checkpoint are written into one graph, each once. */
export interface Writing {
  readonly draft: Draft;
  readonly tensors: ReadonlyMap<string, TensorRef>;
  /** Name of the checkpoint, for messages. */
  readonly checkpoint: string;
  /** Parameters that were written, with their sizes. */
  readonly parameters: Map<string, readonly Size[]>;
  /** Parameters that decide which expert a token goes to. */
  readonly routers: Set<string>;
  readonly mixtures: Mixture[];
  readonly branches: BlockBranch[];
  /** Norms of what one matrix makes for them alone, by their gains. */
  readonly norms: Map<string, NormedMatrix>;
  /** Small constants and casts that were written, by what they hold. */
  readonly written: Map<string, string>;
}

/** Begins to write into a draft. */
export function writingInto(
  draft: Draft,
  checkpoint: { readonly name: string; readonly tensors: ReadonlyMap<string, TensorRef> },
): Writing {
  return {
    draft,
    tensors: checkpoint.tensors,
    checkpoint: checkpoint.name,
    parameters: new Map(),
    routers: new Set(),
    mixtures: [],
    branches: [],
    norms: new Map(),
    written: new Map(),
  };
}

/** A place in the tree of names of a checkpoint, from which parts of a model write themselves into a graph. */
export class Site {
  readonly #writing: Writing;
  /** Names of parameters begin with it. */
  readonly path: string;

  constructor(writing: Writing, path = "") {
    this.#writing = writing;
    this.path = path;
  }

  get draft(): Draft {
    return this.#writing.draft;
  }

  /** A place inside this one. */
  at(part: string | number): Site {
    return new Site(this.#writing, this.#nameOf(String(part)));
  }

  /** True where the checkpoint has a tensor of this name. */
  has(name: string): boolean {
    return this.#writing.tensors.has(this.#nameOf(name));
  }

  /**
   * A parameter as float32, whatever it is stored as. Throws `format` where the checkpoint does not have it, or where its
   * shape is not what the config says.
   */
  parameter(name: string, shape: readonly Size[]): string {
    const { draft, parameters } = this.#writing;
    const full = this.#nameOf(name);
    const ref = this.#find(full);
    const known = parameters.get(full);
    if (known === undefined) {
      const fits = ref.shape.length === shape.length && shape.every(({ value }, axis) => ref.shape[axis] === value);
      if (!fits) {
        const expected = `expected [${shape.map(formatSize).join(", ")}] as the config says`;
        const hint = "Config and tensors are of different models, or one of them was changed; fetch both again.";
        throw this.#wrong(full, `${expected}, got ${formatShape(ref.shape)}.`, hint);
      }
      parameters.set(full, shape);
      draft.setConstant(full, ref);
    }
    return ref.dtype === "f32" ? full : this.once(`f32 ${full}`, () => this.cast(full, "f32"));
  }

  /** Says that a parameter of this place decides which expert a token goes to. */
  isRouter(name: string): void {
    this.#writing.routers.add(this.#nameOf(name));
  }

  /** Says that a gain of this place is of a norm over what the matrix at `maker` makes for it alone. */
  isNormOf(gain: string, maker: Site, how: Pick<NormedMatrix, "part" | "epsilon">): void {
    const made = { matrix: maker.#nameOf("weight"), bias: maker.#nameOf("bias"), ...how };
    this.#writing.norms.set(this.#nameOf(gain), made);
  }

  /**
   * Adds what `write` makes to a value, as a branch that can go alone where `fields` say so. `output` is where its last matrix
   * lies.
   */
  branch(
    { what, fields, output }: Pick<BlockBranch, "what" | "fields"> & { readonly output: string },
    bypass: string,
    write: () => string,
  ): string {
    const { parameters, branches } = this.#writing;
    const before = new Set(parameters.keys());
    const added = write();
    const holds = [...parameters.keys()].filter((name) => !before.has(name));
    const sum = this.add(bypass, added);
    const last = holds.filter((name) => name.startsWith(`${this.#nameOf(output)}.`));
    branches.push({ what, fields, bypass, added, sum, holds, last });
    return sum;
  }

  /** Says where tokens find their experts. */
  isMixture(mixture: Mixture): void {
    this.#writing.mixtures.push(mixture);
  }

  /** Any value cast to another type. */
  cast(x: string, dtype: "f32" | "i64" | "bool"): string {
    return this.draft.op("Cast", [x], { to: int(onnxNumberOf(dtype)) });
  }

  /** A value that is written once per graph. */
  once(key: string, write: () => string): string {
    const { written } = this.#writing;
    const known = written.get(key);
    if (known !== undefined) return known;
    const made = write();
    written.set(key, made);
    return made;
  }

  /** A list of whole numbers, or one of them with shape []. */
  int64(values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.once(`i64 ${shape} ${values}`, () => this.draft.int64(values, shape));
  }

  /** A single number. */
  float(value: number): string {
    return this.once(`f32 ${value}`, () => this.draft.float32([value], []));
  }

  /** The first axes of a value as a list of sizes. */
  sizes(x: string, start: number, end: number): string {
    return this.once(`sizes ${x} ${start} ${end}`, () =>
      this.draft.op("Shape", [x], { start: int(start), end: int(end) }),
    );
  }

  add(a: string, b: string): string {
    return this.draft.op("Add", [a, b]);
  }

  transpose(x: string, order: readonly number[]): string {
    return this.draft.op("Transpose", [x], { perm: ints(order) });
  }

  reshape(x: string, shape: readonly number[]): string {
    return this.draft.op("Reshape", [x, this.int64(shape)]);
  }

  /** Any operator of ai.onnx on values of this graph, its result named after this place. */
  named(op: string, inputs: readonly string[]): string {
    return this.draft.op(op, inputs, {}, this.draft.fresh(this.path));
  }

  #find(full: string): TensorRef {
    const { tensors } = this.#writing;
    const ref = tensors.get(full);
    if (ref === undefined) {
      const hint = didYouMean(full, tensors.keys()) || "The checkpoint is not complete, or not of its model_type.";
      throw this.#wrong(full, "expected a tensor of this name, got none.", hint);
    }
    if (isFloat(ref.dtype) || /^f8e[45]/.test(ref.dtype)) return ref;
    const hint = "Quantised checkpoints are not read; give the original one.";
    throw this.#wrong(full, `expected numbers of 32, 16 or 8 bits with a fraction, got ${ref.dtype}.`, hint);
  }

  #wrong(full: string, message: string, hint: string): EspalierError {
    return new EspalierError("format", `${this.#writing.checkpoint}: ${full}`, message, hint);
  }

  #nameOf(part: string): string {
    return this.path === "" || part === "" ? `${this.path}${part}` : `${this.path}.${part}`;
  }
}
