import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor, fromFloats } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { formatShape, type HostTensor, sizeOf } from "../tensor/tensor.ts";
import { bind, type InputType } from "./bind.ts";
import { type Feature, type IndexedDataset, indexed } from "./dataset.ts";

export interface RandomInputsOptions {
  /** Samples; 64 unless told. Rounded up to whole batches where the model fixes the batch. */
  readonly count?: number;
  readonly seed?: number;
  /** Normal numbers of mean 0 and deviation 1, or uniform ones in [0, 1). */
  readonly distribution?: "normal" | "uniform";
  /** Integers are drawn below this, one number for all inputs or by name; 2 unless told, which any mask accepts. */
  readonly below?: number | ReadonlyMap<string, number>;
}

/**
 * Samples without any data: what sample i holds depends on the seed, the input's name and i alone.
 * Every axis but the first must have a fixed size. An input without axes is one number for all samples: whole ones are 1,
 * a switch that is on and a factor that changes nothing, real ones lie in [0.5, 1.5). Throws `request`.
 */
export function randomInputs(inputs: readonly InputType[], options: RandomInputsOptions = {}): IndexedDataset {
  const { count = 64, seed = 0, distribution = "normal", below = 2 } = options;
  const features = new Map<string, Feature>();
  const single = new Set<string>();
  let batch = 1;
  for (const input of inputs) {
    if (input.dims?.length === 0) {
      features.set(input.name, { dtype: drawnType(input), shape: [] });
      single.add(input.name);
      continue;
    }
    const [first, ...shape] = input.dims ?? [];
    const fixed = shape.filter((dim): dim is number => typeof dim === "number");
    if (first === undefined || fixed.length < shape.length || fixed.some((n) => n < 1)) {
      const got = input.dims === undefined ? "an unknown shape" : formatShape(input.dims);
      const hint = `Fix them, for example with --shape ${input.name}=1x3x224x224.`;
      const message = `expected fixed sizes on all axes but the first, got ${got}.`;
      throw new EspalierError("request", `input "${input.name}"`, message, hint);
    }
    if (typeof first === "number") batch = Math.max(batch, first);
    features.set(input.name, { dtype: drawnType(input), shape: fixed });
  }
  const raw = indexed({
    description: `random inputs, ${distribution}, seed ${seed}`,
    count: Math.ceil(count / batch) * batch,
    labelled: false,
    features,
    async gather(positions) {
      const drawn = new Map<string, HostTensor>();
      for (const [name, feature] of features) {
        const limit = typeof below === "number" ? below : (below.get(name) ?? 2);
        const stream = random(seed, "inputs", name);
        const size = sizeOf(feature.shape);
        const values = new Float64Array(positions.length * size);
        for (let i = 0; i < positions.length; i++) {
          const own = stream.split(single.has(name) ? 0 : (positions[i] ?? 0));
          const row = values.subarray(i * size, (i + 1) * size);
          if (single.has(name)) row[0] = feature.dtype === "f64" ? Math.min(1, limit - 1) : 0.5 + own.uniform();
          else if (feature.dtype === "f64") for (let k = 0; k < size; k++) row[k] = own.int(limit);
          else if (distribution === "normal") own.fillNormal(row);
          else own.fillUniform(row);
        }
        const shape = [positions.length, ...feature.shape];
        const isWhole = feature.dtype === "f64";
        drawn.set(name, isWhole ? fromFloats("f64", shape, values) : float32Tensor(shape, new Float32Array(values)));
      }
      return { inputs: drawn, count: positions.length };
    },
  });
  return bind(raw, inputs);
}

/** Whole numbers are drawn as f64, real ones as f32; binding converts them to what the model takes. */
function drawnType({ dtype }: InputType): "f32" | "f64" {
  return dtype !== null && isFloat(dtype) ? "f32" : "f64";
}
