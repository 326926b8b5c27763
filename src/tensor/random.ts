import { uniformInt } from "pure-rand/distribution/uniformInt";
import { xoroshiro128plusFromState } from "pure-rand/generator/xoroshiro128plus";

/**
 * One stream of random numbers. The same seed and labels give the same numbers on every platform:
 * only arithmetic that IEEE 754 fixes is used, so `Math.log` and its like are not.
 */
export interface Random {
  /** A stream of its own, decided by this stream's seed and labels alone, however much was drawn from it. */
  split(...labels: readonly (string | number)[]): Random;
  /** Uniform in [0, 1), 53 bits. */
  uniform(): number;
  /** Uniform integer in [0, below). */
  int(below: number): number;
  /** Standard normal. */
  normal(): number;
  /** Fills with uniform numbers from low up to high, of 24 random bits. */
  fillUniform(out: Float32Array | Float64Array, low?: number, high?: number): void;
  /** Fills with normal numbers. */
  fillNormal(out: Float32Array | Float64Array, mean?: number, sd?: number): void;
  /** Shuffles in place. */
  shuffle<T extends NonNullable<unknown>>(items: T[]): void;
  /** The numbers 0 to n - 1 in random order. */
  permutation(n: number): Int32Array;
  /** `count` different numbers below n, in random order. */
  sample(n: number, count: number): Int32Array;
  /**
   * `count` different indices, drawn one after the other with probability proportional to the weight of those left.
   * Indices of weight 0 never come; fewer are returned when fewer have weight. In order of drawing.
   */
  weightedSample(weights: ArrayLike<number>, count: number): Int32Array;
}

/** A stream of random numbers for a seed and a purpose, for example `random(seed, "calibration", layer)`. */
export function random(seed: number, ...labels: readonly (string | number)[]): Random {
  return stream([seed, ...labels]);
}

function stream(path: readonly (string | number)[]): Random {
  const generator = xoroshiro128plusFromState(hash(path));
  let spare: number | undefined;

  function uniform(): number {
    return ((generator.next() >>> 5) * 2 ** 26 + (generator.next() >>> 6)) / 2 ** 53;
  }

  function int(below: number): number {
    return uniformInt(generator, 0, below - 1);
  }

  /** Marsaglia's polar method: two numbers at a time, no trigonometry. */
  function normal(): number {
    if (spare !== undefined) {
      const value = spare;
      spare = undefined;
      return value;
    }
    for (;;) {
      const u = 2 * uniform() - 1;
      const v = 2 * uniform() - 1;
      const s = u * u + v * v;
      if (s >= 1 || s === 0) continue;
      const factor = Math.sqrt((-2 * naturalLog(s)) / s);
      spare = v * factor;
      return u * factor;
    }
  }

  function permutation(n: number): Int32Array {
    return sample(n, n);
  }

  function sample(n: number, count: number): Int32Array {
    const items = Int32Array.from({ length: n }, (_, i) => i);
    const taken = Math.min(n, count);
    for (let i = 0; i < taken; i++) {
      const j = i + int(n - i);
      const item = items[i] ?? 0;
      items[i] = items[j] ?? 0;
      items[j] = item;
    }
    return items.slice(0, taken);
  }

  return {
    split: (...labels) => stream([...path, ...labels]),
    uniform,
    int,
    normal,
    fillUniform(out, low = 0, high = 1) {
      const scale = (high - low) / 2 ** 24;
      for (let i = 0; i < out.length; i++) out[i] = low + (generator.next() >>> 8) * scale;
    },
    fillNormal(out, mean = 0, sd = 1) {
      for (let i = 0; i < out.length; i++) out[i] = mean + sd * normal();
    },
    shuffle(items) {
      for (let i = items.length - 1; i > 0; i--) {
        const j = int(i + 1);
        const item = items[i];
        const other = items[j];
        if (item === undefined || other === undefined) continue;
        items[i] = other;
        items[j] = item;
      }
    },
    permutation,
    sample,
    weightedSample(weights, count) {
      // An exponential race: the index with rate w that rings first is drawn first (Efraimidis and Spirakis 2006).
      const times = new Float64Array(weights.length);
      const eligible: number[] = [];
      for (let i = 0; i < weights.length; i++) {
        const time = -naturalLog(1 - uniform()) / (weights[i] ?? 0);
        times[i] = time;
        if ((weights[i] ?? 0) > 0) eligible.push(i);
      }
      eligible.sort((a, b) => (times[a] ?? 0) - (times[b] ?? 0) || a - b);
      return Int32Array.from(eligible.slice(0, count));
    },
  };
}

/** Four words of state from a path of labels: FNV-1a with four bases, each finished by MurmurHash3's mixer. */
function hash(path: readonly (string | number)[]): number[] {
  // The kind and length of each label keep ("a", "b"), ("ab") and (1), ("1") apart.
  const text = path.map((label) => `${typeof label === "string" ? "s" : "n"}${`${label}`.length}:${label}`).join();
  return [0x811c9dc5, 0x9e3779b9, 0x85ebca6b, 0xc2b2ae35].map((base) => {
    let h = base;
    for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return h ^ (h >>> 16);
  });
}

/** Natural logarithm of x > 0 by additions, products and quotients only; relative error about 1e-15. */
function naturalLog(x: number): number {
  let exponent = 0;
  let mantissa = x;
  while (mantissa > Math.SQRT2) {
    mantissa /= 2;
    exponent++;
  }
  while (mantissa < Math.SQRT1_2) {
    mantissa *= 2;
    exponent--;
  }
  const s = (mantissa - 1) / (mantissa + 1);
  const square = s * s;
  let sum = 0;
  for (let k = 23; k >= 1; k -= 2) sum = sum * square + 1 / k;
  return 2 * s * sum + exponent * Math.LN2;
}
