import type { DType } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { formatShape, load, type TensorRef } from "../../tensor/tensor.ts";
import type { Json } from "./json.ts";
import type { Checkpoint } from "./open.ts";

const scaleEnding = "_scale_inv";

/**
 * The checkpoint with bfloat16 tensors in the place of those of float8 that have a factor for each block of a matrix
 * (`weight` and `weight_scale_inv`, as DeepSeek-V3 is stored). They are computed each time they are loaded. Throws `format`
 * where factors do not fit.
 */
export function withoutScales(checkpoint: Checkpoint): Checkpoint {
  const { config, tensors: stored } = checkpoint;
  if (![...stored.keys()].some((name) => name.endsWith(scaleEnding))) return checkpoint;
  const tensors = new Map<string, TensorRef>();
  const shardOf = new Map(checkpoint.shardOf);
  for (const [name, ref] of stored) {
    if (name.endsWith(scaleEnding) && stored.has(name.slice(0, -scaleEnding.length))) {
      shardOf.delete(name);
      continue;
    }
    const factors = stored.get(`${name}${scaleEnding}`);
    tensors.set(
      name,
      factors === undefined ? ref : scaled(`${checkpoint.name}: ${name}`, ref, factors, blockOf(config)),
    );
  }
  const { quantization_config: _, ...rest } = config;
  return { ...checkpoint, config: rest, tensors, shardOf };
}

/** Sizes of a block, where the config states them. */
function blockOf(config: Json): readonly [number, number] {
  const quantisation = config["quantization_config"];
  const stated = typeof quantisation === "object" && quantisation !== null ? Object.entries(quantisation) : [];
  const sizes: unknown = stated.find(([key]) => key === "weight_block_size")?.[1];
  const [rows, columns]: unknown[] = Array.isArray(sizes) ? sizes : [];
  return [
    typeof rows === "number" && rows > 0 ? rows : 128,
    typeof columns === "number" && columns > 0 ? columns : 128,
  ];
}

function scaled(where: string, ref: TensorRef, factors: TensorRef, [high, wide]: readonly [number, number]): TensorRef {
  const [rows = 0, columns = 0] = ref.shape;
  const [down, across] = [Math.ceil(rows / high), Math.ceil(columns / wide)];
  const table = tables.get(ref.dtype);
  const fits = ref.shape.length === 2 && factors.shape[0] === down && factors.shape[1] === across;
  if (table === undefined || !fits) {
    const expected = `expected float8 with factors [${down}, ${across}] for ${formatShape(ref.shape)}`;
    throw new EspalierError("format", where, `${expected}, got ${ref.dtype} and ${formatShape(factors.shape)}.`);
  }
  const by = async (): Promise<Uint8Array> => {
    const [codes, scales] = [(await load(ref)).bytes, toFloat32(await load(factors))];
    const values = new Float32Array(rows * columns);
    for (let row = 0; row < rows; row++) {
      const line = Math.floor(row / high) * across;
      for (let column = 0; column < columns; column++) {
        const at = row * columns + column;
        values[at] = (table[codes[at] ?? 0] ?? 0) * (scales[line + Math.floor(column / wide)] ?? 0);
      }
    }
    return fromFloats("bf16", ref.shape, values).bytes;
  };
  return { dtype: "bf16", shape: ref.shape, made: { from: ref, by } };
}

/** Values of all 256 codes of a float with so many bits of mantissa and this bias; `special` tells the codes that are no number. */
function tableOf(mantissa: number, bias: number, special: (exponent: number, fraction: number) => number | undefined) {
  return Float32Array.from({ length: 256 }, (_, code) => {
    const sign = code < 128 ? 1 : -1;
    const exponent = (code & 127) >> mantissa;
    const fraction = code & ((1 << mantissa) - 1);
    const odd = special(exponent, fraction);
    if (odd !== undefined) return sign * odd;
    const share = fraction / (1 << mantissa);
    return sign * (exponent === 0 ? share * 2 ** (1 - bias) : (1 + share) * 2 ** (exponent - bias));
  });
}

const tables: ReadonlyMap<DType, Float32Array> = new Map([
  ["f8e4m3fn", tableOf(3, 7, (exponent, fraction) => (exponent === 15 && fraction === 7 ? Number.NaN : undefined))],
  [
    "f8e5m2",
    tableOf(2, 15, (exponent, fraction) => {
      if (exponent < 31) return undefined;
      return fraction === 0 ? Number.POSITIVE_INFINITY : Number.NaN;
    }),
  ],
]);
