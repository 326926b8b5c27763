import { bitsOf, byteLengthOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { formatShape, type HostTensor, type Shape, sizeOf } from "../../tensor/tensor.ts";
import { type Feature, type IndexedDataset, indexed } from "../dataset.ts";

/** Where the channels of an image lie: [channels, height, width] or [height, width, channels]. */
export type Layout = "nchw" | "nhwc";

/** What becomes of each element: (x · scale - mean) / std, mean and std one number for all or one for each channel. */
export interface Normalisation {
  readonly scale?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
  /** Which axis of a sample counts channels. "nchw", the first, unless told. */
  readonly layout?: Layout;
  /** The inputs concerned; all, unless told. */
  readonly names?: readonly string[];
}

/** The samples as float32, normalised. Throws `request` where mean or std do not fit the channels. */
export function normalise(dataset: IndexedDataset, options: Normalisation): IndexedDataset {
  const { scale = 1, mean = [0], std = [1], layout = "nchw", names = [...dataset.features.keys()] } = options;
  if (![scale, ...mean, ...std].every(Number.isFinite) || std.includes(0) || scale === 0) {
    const got = `scale ${scale}, mean [${mean.join(", ")}], std [${std.join(", ")}]`;
    throw new EspalierError("request", "normalisation", `expected finite numbers, scale and std not 0, got ${got}.`);
  }
  const features = new Map(dataset.features);
  const plans = new Map<string, ChannelPlan>();
  for (const name of names) {
    const feature = features.get(name);
    if (feature === undefined) {
      throw new EspalierError("request", "normalisation", `expected an input of the data, got "${name}".`);
    }
    plans.set(name, planFor(name, feature, { scale, mean, std, layout }));
    features.set(name, { dtype: "f32", shape: feature.shape });
  }
  const applied = [scale === 1 ? "" : `scale ${scale}`, list("mean", options.mean), list("std", options.std)];
  return indexed({
    ...dataset,
    features,
    description: [dataset.description, ...applied.filter((part) => part !== "")].join(", "),
    async gather(positions) {
      const batch = await dataset.gather(positions);
      const inputs = new Map<string, HostTensor>();
      for (const [name, tensor] of batch.inputs) {
        const plan = plans.get(name);
        inputs.set(name, plan === undefined ? tensor : float32Tensor(tensor.shape, apply(plan, tensor)));
      }
      return { ...batch, inputs };
    },
  });
}

/** Images in the other layout: samples [a, b, c] of the named inputs (or all) become [c, a, b] or [b, c, a]. */
export function withLayout(
  dataset: IndexedDataset,
  from: Layout,
  to: Layout,
  names: readonly string[] = [...dataset.features.keys()],
): IndexedDataset {
  if (from === to) return dataset;
  const features = new Map(dataset.features);
  for (const name of names) {
    const feature = features.get(name);
    if (feature === undefined || !isPicture(feature)) {
      const got = feature === undefined ? "no such input" : `${feature.dtype} ${formatShape(feature.shape)}`;
      throw new EspalierError(
        "request",
        `layout of "${name}"`,
        `expected images with three axes, of floats or small integers, got ${got}.`,
      );
    }
    features.set(name, { ...feature, shape: permuted(feature.shape, to) });
  }
  return indexed({
    ...dataset,
    features,
    description: `${dataset.description}, ${to.toUpperCase()}`,
    async gather(positions) {
      const batch = await dataset.gather(positions);
      const inputs = new Map(batch.inputs);
      for (const name of names) {
        const tensor = inputs.get(name);
        if (tensor !== undefined) inputs.set(name, relaid(tensor, to));
      }
      return { ...batch, inputs };
    },
  });
}

/** True where the layout can be changed: three axes of elements that a pixel can be. */
export function isPicture({ dtype, shape }: Feature): boolean {
  return shape.length === 3 && dtype !== "i64" && dtype !== "u64" && bitsOf(dtype) <= 64;
}

/** For element i the channel is floor(i / inner) mod channels. */
interface ChannelPlan {
  readonly inner: number;
  readonly scale: number;
  /** One entry per channel. */
  readonly mean: Float64Array;
  readonly std: Float64Array;
}

type Settled = Required<Omit<Normalisation, "names">>;

function planFor(name: string, { shape }: Feature, { scale, mean, std, layout }: Settled): ChannelPlan {
  const axis = layout === "nchw" ? 0 : shape.length - 1;
  const single = mean.length === 1 && std.length === 1;
  const channels = single ? 1 : (shape[axis] ?? 1);
  for (const [what, values] of [["mean", mean] as const, ["std", std] as const]) {
    if (values.length === 1 || values.length === channels) continue;
    const message = `expected 1 or ${channels} numbers for samples ${formatShape(shape)} of "${name}", got ${values.length}.`;
    throw new EspalierError("request", what, message, "Is the layout right?");
  }
  const spread = (values: readonly number[]) =>
    Float64Array.from({ length: channels }, (_, c) => values[values.length === 1 ? 0 : c] ?? 0);
  const inner = single ? sizeOf(shape) : sizeOf(shape.slice(axis + 1));
  return { inner: Math.max(1, inner), scale, mean: spread(mean), std: spread(std) };
}

function apply({ inner, scale, mean, std }: ChannelPlan, tensor: HostTensor): Float32Array {
  const channels = mean.length;
  const { bytes, dtype } = tensor;
  if (dtype !== "u8") {
    const values = toFloat32(tensor);
    const out = new Float32Array(values.length);
    for (let start = 0, c = 0; start < out.length; start += inner, c = c + 1 === channels ? 0 : c + 1) {
      const m = mean[c] ?? 0;
      const s = std[c] ?? 1;
      for (let i = start; i < start + inner; i++) out[i] = ((values[i] ?? 0) * scale - m) / s;
    }
    return out;
  }
  // A byte has 256 values, so a table per channel replaces the arithmetic.
  const table = new Float32Array(256 * channels);
  for (let c = 0; c < channels; c++) {
    for (let v = 0; v < 256; v++) table[256 * c + v] = (v * scale - (mean[c] ?? 0)) / (std[c] ?? 1);
  }
  const out = new Float32Array(bytes.length);
  for (let start = 0, row = 0; start < out.length; start += inner, row = row + 256 === table.length ? 0 : row + 256) {
    for (let i = start; i < start + inner; i++) out[i] = table[row + (bytes[i] ?? 0)] ?? 0;
  }
  return out;
}

function permuted(shape: Shape, to: Layout): Shape {
  const [a = 0, b = 0, c = 0] = shape;
  return to === "nchw" ? [c, a, b] : [b, c, a];
}

function relaid({ dtype, shape, bytes }: HostTensor, to: Layout): HostTensor {
  const [count = 0, ...sample] = shape;
  const [a = 0, b = 0, c = 0] = sample;
  // Either way the samples are a matrix that is transposed: [channels, pixels] or [pixels, channels].
  const rows = to === "nchw" ? a * b : a;
  const columns = to === "nchw" ? c : b * c;
  const out = new Uint8Array(bytes.length);
  const read = elements(bytes, byteLengthOf(dtype, 1));
  const write = elements(out, byteLengthOf(dtype, 1));
  for (let n = 0; n < count; n++) {
    const base = n * rows * columns;
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) write[base + j * rows + i] = read[base + i * columns + j] ?? 0;
    }
  }
  return { dtype, shape: [count, ...permuted(sample, to)], bytes: out };
}

/** The elements as units that can be moved, whatever they mean. */
function elements(bytes: Uint8Array, width: number): Uint8Array | Uint16Array | Uint32Array | Float64Array {
  const { buffer, byteOffset, byteLength } = bytes.byteOffset % width === 0 ? bytes : bytes.slice();
  if (width === 1) return bytes;
  if (width === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  if (width === 4) return new Uint32Array(buffer, byteOffset, byteLength / 4);
  return new Float64Array(buffer, byteOffset, byteLength / 8);
}

function list(name: string, values: readonly number[] | undefined): string {
  return values === undefined ? "" : `${name} [${values.join(", ")}]`;
}
