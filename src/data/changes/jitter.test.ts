import { describe, expect, it } from "vitest";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type HostTensor, tensor } from "../../tensor/tensor.ts";
import type { Batch } from "../dataset.ts";
import { type JitterOptions, jitter } from "./jitter.ts";

/** Pictures whose elements are all different, so that each tells where it came from. */
function pictures(count: number, ...sample: readonly number[]): Batch {
  const size = sample.reduce((n, m) => n * m, 1);
  const values = Float32Array.from({ length: count * size }, (_, i) => i + 1);
  return { inputs: new Map([["image", float32Tensor([count, ...sample], values)]]), count };
}

const change = (batch: Batch, options: JitterOptions, seed = 0): Float32Array =>
  toFloat32(jitter(options)(batch, random(seed)).inputs.get("image") ?? expect.fail("no image"));

/** The move that explains a picture: searched among all, so that the kernel's own order of drawing is not assumed. */
function explained(
  found: Float32Array,
  original: Float32Array,
  h: number,
  w: number,
  pad: number,
  rim: number,
): string[] {
  const moves: string[] = [];
  for (let down = -pad; down <= pad; down++) {
    for (let right = -pad; right <= pad; right++) {
      for (const flip of [0, 1]) {
        const same = found.every((value, at) => {
          const [y, x] = [Math.floor(at / w) + down, (flip === 1 ? w - 1 - (at % w) : at % w) + right];
          return value === (y < 0 || y >= h || x < 0 || x >= w ? rim : original[y * w + x]);
        });
        if (same) moves.push(`${down} ${right} ${flip}`);
      }
    }
  }
  return moves;
}

describe("jitter", () => {
  it("moves and mirrors every picture by a choice of its own, and each choice comes up", () => {
    const batch = pictures(400, 1, 5, 4);
    const original = change(batch, {});
    const found = change(batch, { pad: 1, flip: true, fill: [-9] });
    const seen = new Map<string, number>();
    for (let i = 0; i < 400; i++) {
      const part = (values: Float32Array): Float32Array => values.subarray(20 * i, 20 * i + 20);
      const [move, ...others] = explained(part(found), part(original), 5, 4, 1, -9);
      expect(others).toEqual([]);
      const key = move ?? expect.fail("no move explains this picture");
      seen.set(key, (seen.get(key) ?? 0) + 1);
    }
    expect(seen.size).toBe(18);
    expect(Math.max(...seen.values())).toBeLessThan(60);
  });

  it("does the same to all channels, whichever axis counts them, and fills each with its own number", () => {
    const nchw = pictures(6, 3, 4, 5);
    const from = toFloat32(nchw.inputs.get("image") ?? expect.fail());
    const turned = new Float32Array(from.length);
    for (let n = 0; n < 6; n++) {
      for (let c = 0; c < 3; c++) {
        for (let k = 0; k < 20; k++) turned[n * 60 + k * 3 + c] = from[n * 60 + c * 20 + k] ?? 0;
      }
    }
    const nhwc: Batch = { inputs: new Map([["image", float32Tensor([6, 4, 5, 3], turned)]]), count: 6 };
    const options = { pad: 2, flip: true, fill: [-1, -2, -3] };
    const [a, b] = [change(nchw, options), change(nhwc, { ...options, layout: "nhwc" })];
    for (let n = 0; n < 6; n++) {
      for (let c = 0; c < 3; c++) {
        for (let k = 0; k < 20; k++) expect(b[n * 60 + k * 3 + c]).toBe(a[n * 60 + c * 20 + k]);
      }
    }
    expect(new Set(a.filter((value) => value < 0))).toEqual(new Set([-1, -2, -3]));
  });

  it("goes on mirrored at the edge where asked, without the outermost pixel twice", () => {
    const batch = pictures(200, 1, 4, 5);
    const [h, w] = [4, 5];
    const mirrored = (at: number, size: number): number =>
      [2, 1, ...Array(size).keys(), size - 2, size - 3][at + 2] ?? -1;
    const original = change(batch, {});
    const found = change(batch, { pad: 2, flip: true, fill: "mirror" });
    const seen = new Set<string>();
    for (let i = 0; i < 200; i++) {
      const [part, from] = [found, original].map((values) => values.subarray(20 * i, 20 * i + 20));
      for (let move = 0; move < 50; move++) {
        const [down, right, flip] = [Math.floor(move / 10) - 2, (Math.floor(move / 2) % 5) - 2, move % 2];
        const same = part?.every((value, at) => {
          const x = flip === 1 ? w - 1 - (at % w) : at % w;
          return value === from?.[mirrored(Math.floor(at / w) + down, h) * w + mirrored(x + right, w)];
        });
        if (same === true) seen.add(`${down} ${right} ${flip}`);
      }
    }
    expect(seen.size).toBe(50);
    expect(() => change(batch, { pad: 4, fill: "mirror" })).toThrow("expected less than the size of a picture, 4 x 5");
  });

  it("treats bytes as it treats floats", () => {
    const batch = pictures(3, 1, 4, 4);
    const bytes = Uint8Array.from(toFloat32(batch.inputs.get("image") ?? expect.fail()));
    const small: Batch = { inputs: new Map([["image", tensor("u8", [3, 1, 4, 4], bytes)]]), count: 3 };
    const found = jitter({ pad: 1, flip: true })(small, random(0)).inputs.get("image")?.bytes ?? expect.fail();
    expect([...found]).toEqual([...change(batch, { pad: 1, flip: true })]);
  });

  it("is decided by its stream, leaves the batch as it was, and does nothing unasked", () => {
    const batch = pictures(8, 1, 6, 6);
    const before = [...toFloat32(batch.inputs.get("image") ?? expect.fail())];
    expect(change(batch, { pad: 2 }, 1)).toEqual(change(batch, { pad: 2 }, 1));
    expect(change(batch, { pad: 2 }, 1)).not.toEqual(change(batch, { pad: 2 }, 2));
    expect([...change(batch, {})]).toEqual(before);
    expect([...toFloat32(batch.inputs.get("image") ?? expect.fail())]).toEqual(before);
  });

  it("refuses what is no picture", () => {
    const words: HostTensor = tensor("i64", [2, 3]);
    const batch = { inputs: new Map([["words", words]]), count: 2 };
    expect(() => jitter({})(batch, random(0))).toThrow(
      "expected pictures of u8 or f32 with three axes each, got i64 [2, 3]",
    );
    expect(() => jitter({ pad: 0.5 })).toThrow("expected a whole number of pixels");
    expect(() => change(pictures(1, 3, 2, 2), { fill: [1, 2] })).toThrow("expected 1 or 3 numbers");
    expect(() => jitter({ names: ["image"] })(batch, random(0))).toThrow("expected an input of the data");
  });
});
