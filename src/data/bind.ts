import type { DType } from "../tensor/dtype.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { formatShape, type HostTensor, type Shape, sizeOf } from "../tensor/tensor.ts";
import { canCast, castTo } from "./changes/cast.ts";
import { checkFinite } from "./changes/finite.ts";
import { type Feature, type IndexedDataset, indexed } from "./dataset.ts";

/** A model input that data can feed; the `ValueInfo` of a graph input is one. */
export interface InputType {
  readonly name: string;
  readonly dtype: DType | null;
  readonly dims?: readonly (number | string | null)[];
}

interface Binding {
  readonly source: string;
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** The model takes one number for the whole batch. */
  readonly single: boolean;
}

/**
 * The data as a model takes it: every input fed under its name, with its type, in its shape (axes of size 1 and
 * flattening are settled), batches of the size that the graph fixes. A single tensor feeds a single input whatever
 * its name; an input without axes takes one number for the batch, which all samples must share. Tensors that the model does not take are left out. Throws `data` with what does not fit; values that do
 * not convert, NaN and infinities when they are met.
 */
export function bind(dataset: IndexedDataset, inputs: readonly InputType[]): IndexedDataset {
  if (inputs.length === 0) {
    throw new EspalierError("data", dataset.description, "expected a model with inputs, got one without.");
  }
  const lone = dataset.features.size === 1 && inputs.length === 1 ? [...dataset.features.keys()][0] : undefined;
  const bindings = inputs.map((input) => bindOne(dataset, input, lone ?? input.name));
  checkSymbols(inputs, bindings);
  const unused = [...dataset.features.keys()].filter((name) => !bindings.some((binding) => binding.source === name));
  const leftOut = unused.length === 0 ? "" : `, without ${unused.slice(0, 5).join(", ")}`;
  const description = `${dataset.description}${leftOut}`;
  return indexed({
    ...dataset,
    description,
    batch: fixedBatch(inputs) ?? dataset.batch,
    features: new Map(bindings.map(({ name, dtype, shape }) => [name, { dtype, shape }])),
    async gather(positions) {
      const batch = await dataset.gather(positions);
      const fed = new Map<string, HostTensor>();
      for (const { source, name, dtype, shape, single } of bindings) {
        const given = batch.inputs.get(source);
        if (given === undefined) throw new EspalierError("data", description, `expected "${source}", got none.`);
        const cast = castTo(dtype, given, `input "${name}"`, positions);
        checkFinite(description, name, cast, positions);
        fed.set(
          name,
          single ? shared(cast, batch.count, description, name) : { ...cast, shape: [batch.count, ...shape] },
        );
      }
      return { ...batch, inputs: fed };
    },
  });
}

function bindOne(dataset: IndexedDataset, input: InputType, source: string): Binding {
  const where = `input "${input.name}"`;
  const feature = dataset.features.get(source);
  if (feature === undefined) {
    const names = [...dataset.features.keys()];
    const shown = `${names.slice(0, 5).join(", ")}${names.length > 5 ? ", …" : ""}`;
    const hint = didYouMean(source, names) || "Name the arrays after the model's inputs.";
    throw new EspalierError("data", where, `expected data of this name, got ${shown}.`, hint);
  }
  const { dtype } = input;
  if (dtype === null) throw new EspalierError("data", where, "expected a tensor, got a sequence, optional or map.");
  if (!canCast(feature.dtype, dtype)) {
    throw new EspalierError("data", where, `expected ${dtype}, got ${feature.dtype} from ${dataset.description}.`);
  }
  const single = input.dims?.length === 0;
  const shape = single ? (sizeOf(feature.shape) === 1 ? [] : undefined) : fitted(feature.shape, input.dims);
  if (shape !== undefined) return { source, name: input.name, dtype, shape, single };
  const got = `${formatShape([dataset.count, ...feature.shape])} from ${dataset.description}`;
  throw new EspalierError(
    "data",
    where,
    `expected shape ${formatShape(input.dims ?? [])}, got ${got}.`,
    shapeHint(feature, input),
  );
}

/** The one number that all samples of a batch hold. Throws `data` where they differ. */
function shared({ dtype, bytes }: HostTensor, count: number, description: string, name: string): HostTensor {
  const length = bytes.length / count;
  for (let at = length; at < bytes.length; at++) {
    if (bytes[at] === bytes[at - length]) continue;
    const message = `expected the same number in all samples of "${name}", got different ones.`;
    throw new EspalierError("data", description, message, "The model takes one number for the whole batch.");
  }
  return { dtype, shape: [], bytes: bytes.slice(0, length) };
}

/** The sample's shape as the model wants it, undefined where it does not fit. */
function fitted(shape: Shape, dims: InputType["dims"]): Shape | undefined {
  if (dims === undefined) return shape;
  const wanted = dims.slice(1);
  if (fits(shape, wanted)) return shape;
  const fixed = wanted.filter((dim): dim is number => typeof dim === "number");
  if (fixed.length < wanted.length) return undefined;
  // Only forms that cannot hide a mistake: axes of size 1 come or go, or everything becomes one axis.
  const flat = wanted.length === 1 && fixed[0] === sizeOf(shape);
  const squeezed = formatShape(fixed.filter((n) => n !== 1)) === formatShape(shape.filter((n) => n !== 1));
  return flat || squeezed ? fixed : undefined;
}

function fits(shape: Shape, wanted: readonly (number | string | null)[]): boolean {
  return shape.length === wanted.length && wanted.every((dim, i) => typeof dim !== "number" || dim === shape[i]);
}

function shapeHint({ shape }: Feature, { dims = [] }: InputType): string {
  const [a = 0, b = 0, c = 0] = shape;
  const wanted = dims.slice(1);
  if (dims.length === 0) return "Give the number once for each sample.";
  if (shape.length === 3 && (fits([c, a, b], wanted) || fits([b, c, a], wanted))) {
    return "The channels lie on another axis: set the layout.";
  }
  const whole = dims.length === shape.length && fits(shape, dims);
  if (whole) return "Axis 0 of the data counts samples; add one if this is a single sample.";
  if (shape.length === 3 && wanted.length === 3) return "Pictures in a folder are scaled to the model; arrays are not.";
  return "Axis 0 of the data counts samples.";
}

/** A symbol stands for one size everywhere; on axis 0 it is the batch. */
function checkSymbols(inputs: readonly InputType[], bindings: readonly Binding[]): void {
  const sizes = new Map<string, { readonly size: number; readonly where: string }>();
  for (const [i, input] of inputs.entries()) {
    for (const [axis, dim] of (input.dims ?? []).slice(1).entries()) {
      const size = bindings[i]?.shape[axis];
      if (typeof dim !== "string" || dim === "" || size === undefined) continue;
      const known = sizes.get(dim);
      if (known === undefined) sizes.set(dim, { size, where: input.name });
      else if (known.size !== size) {
        const message = `expected "${dim}" to be ${known.size} as in "${known.where}", got ${size} on axis ${axis + 1}.`;
        throw new EspalierError("data", `input "${input.name}"`, message);
      }
    }
  }
}

function fixedBatch(inputs: readonly InputType[]): number | undefined {
  let batch: number | undefined;
  for (const { name, dims } of inputs) {
    const first = dims?.[0];
    if (typeof first !== "number") continue;
    if (first < 1 || (batch !== undefined && batch !== first)) {
      const expected = batch === undefined ? "a size from 1" : `the same size as in other inputs (${batch})`;
      throw new EspalierError("data", `input "${name}"`, `expected ${expected} on axis 0, got ${first}.`);
    }
    batch = first;
  }
  return batch;
}
