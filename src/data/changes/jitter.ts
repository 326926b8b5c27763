import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import type { Random } from "../../tensor/random.ts";
import { formatShape, type HostTensor } from "../../tensor/tensor.ts";
import type { Batch } from "../dataset.ts";
import type { Layout } from "./normalise.ts";

export interface JitterOptions {
  /** Each picture moves by up to so many pixels in each direction: a random crop of the picture with a rim of this width. */
  readonly pad?: number;
  /** Half of the pictures are mirrored, left to right. */
  readonly flip?: boolean;
  /**
   * What the rim holds: one number for all channels, one for each, or the picture mirrored at its edge, which needs no
   * knowledge of what black is; 0 unless told.
   */
  readonly fill?: readonly number[] | "mirror";
  /** Inputs that are pictures; all, unless told. */
  readonly names?: readonly string[];
  readonly layout?: Layout;
}

/**
 * Changes a batch of pictures of bytes or floats at random, as `train` asks for it: the same stream gives the same
 * changes, and every picture input of a sample the same one. Throws `data` for what is no picture.
 */
export function jitter(options: JitterOptions): (batch: Batch, draw: Random) => Batch {
  const { pad = 0, flip = false, fill = [0], names, layout = "nchw" } = options;
  if (!Number.isInteger(pad) || pad < 0) {
    throw new EspalierError("request", "pad", `expected a whole number of pixels from 0, got ${pad}.`);
  }
  return (batch, draw) => {
    const moves = new Int32Array(3 * batch.count);
    for (let i = 0; i < moves.length; i += 3) {
      moves[i] = draw.int(2 * pad + 1) - pad;
      moves[i + 1] = draw.int(2 * pad + 1) - pad;
      moves[i + 2] = flip ? draw.int(2) : 0;
    }
    const inputs = new Map(batch.inputs);
    for (const name of names ?? batch.inputs.keys()) {
      const tensor = batch.inputs.get(name);
      if (tensor === undefined) throw new EspalierError("data", name, "expected an input of the data, got none.");
      inputs.set(name, moved(name, tensor, moves, { fill, pad }, layout));
    }
    return { ...batch, inputs };
  };
}

/** How a picture lies in memory: planes, then rows, then columns, then the channels of a pixel. */
interface Form {
  readonly planes: number;
  readonly height: number;
  readonly width: number;
  readonly pixel: number;
}

function moved(
  name: string,
  tensor: HostTensor,
  moves: Int32Array,
  { fill, pad }: { readonly fill: readonly number[] | "mirror"; readonly pad: number },
  layout: Layout,
): HostTensor {
  const { dtype, shape } = tensor;
  const [, a = 0, b = 0, c = 0] = shape;
  if (shape.length !== 4 || (dtype !== "u8" && dtype !== "f32")) {
    const got = `${dtype} ${formatShape(shape)}`;
    throw new EspalierError("data", name, `expected pictures of u8 or f32 with three axes each, got ${got}.`);
  }
  const form =
    layout === "nchw" ? { planes: a, height: b, width: c, pixel: 1 } : { planes: 1, height: a, width: b, pixel: c };
  const rim = fill === "mirror" ? mirrorOf(form, pad) : colours(form, fill, shape);
  if (dtype === "u8") {
    const out = new Uint8Array(tensor.bytes.length);
    move(tensor.bytes, out, form, moves, rim);
    return { dtype, shape, bytes: out };
  }
  const from = toFloat32(tensor);
  const out = new Float32Array(from.length);
  move(from, out, form, moves, rim);
  return float32Tensor(shape, out);
}

/** One number for every channel. Throws `request` for another count. */
function colours({ planes, pixel }: Form, fill: readonly number[], shape: readonly number[]): Float32Array {
  const channels = planes * pixel;
  if (fill.length !== 1 && fill.length !== channels) {
    const message = `expected 1 or ${channels} numbers for pictures ${formatShape(shape)}, got ${fill.length}.`;
    throw new EspalierError("request", "fill", message);
  }
  return Float32Array.from({ length: channels }, (_, i) => fill[fill.length === 1 ? 0 : i] ?? 0);
}

/** Null: the picture goes on mirrored. Throws `request` where a rim is wider than what it mirrors. */
function mirrorOf({ height, width }: Form, pad: number): null {
  if (pad < Math.min(height, width)) return null;
  const message = `expected less than the size of a picture, ${height} x ${width}, got ${pad}.`;
  throw new EspalierError("request", "pad", message);
}

/** A position beyond the edge, mirrored at the outermost pixel. */
const within = (at: number, size: number): number => (at < 0 ? -at : at >= size ? 2 * (size - 1) - at : at);

function move<T extends Uint8Array | Float32Array>(
  from: T,
  out: T,
  { planes, height, width, pixel }: Form,
  moves: Int32Array,
  rim: Float32Array | null,
): void {
  const row = width * pixel;
  for (let sample = 0, at = 0; sample * 3 < moves.length; sample++) {
    const down = moves[3 * sample] ?? 0;
    const right = moves[3 * sample + 1] ?? 0;
    const step = moves[3 * sample + 2] === 1 ? -1 : 1;
    const start = right + (step < 0 ? width - 1 : 0);
    for (let plane = 0; plane < planes; plane++) {
      for (let y = 0; y < height; y++) {
        const source = rim === null ? within(y + down, height) : y + down;
        const inside = source >= 0 && source < height;
        const line = ((sample * planes + plane) * height + source) * row;
        for (let x = 0; x < width; x++) {
          const column = rim === null ? within(start + step * x, width) : start + step * x;
          const lit = inside && column >= 0 && column < width;
          for (let k = 0; k < pixel; k++, at++) {
            out[at] = (lit ? from[line + column * pixel + k] : rim?.[plane * pixel + k]) ?? 0;
          }
        }
      }
    }
  }
}
