import type { Site } from "../checkpoint/site.ts";

/** Rotary positions: each pair of features turns by its frequency times the position. */
export interface RotarySpec {
  /** Of each pair, in radians per position. */
  readonly frequencies: readonly number[];
  /** Factor on cosines and sines. */
  readonly amplitude: number;
  /** Frequencies and amplitude for sequences longer than `length`. */
  readonly beyond?: { readonly length: number } & Pick<RotarySpec, "frequencies" | "amplitude">;
  /** Beyond `length` positions the base grows with the sequence (dynamic NTK scaling). */
  readonly growth?: { readonly length: number; readonly factor: number; readonly theta: number };
  /** Pairs stand side by side instead of half a head apart. */
  readonly interleaved?: boolean;
}

/** Cosines and sines [batch, time, pairs] at positions [batch, time]. */
export function rotaryTables(
  site: Site,
  positions: string,
  spec: RotarySpec,
): { readonly cos: string; readonly sin: string } {
  const { draft } = site;
  const { frequencies, amplitude, beyond, growth } = spec;
  let rates = draft.float32(frequencies, [frequencies.length], "frequencies");
  let scale = amplitude === 1 ? undefined : site.float(amplitude);
  if (beyond !== undefined) {
    const long = draft.op("Greater", [sequenceLength(site, positions), site.float(beyond.length)]);
    const rest = draft.float32(beyond.frequencies, [beyond.frequencies.length], "frequencies");
    rates = draft.op("Where", [long, rest, rates]);
    if (amplitude !== 1 || beyond.amplitude !== 1) {
      scale = draft.op("Where", [long, site.float(beyond.amplitude), site.float(amplitude)]);
    }
  }
  if (growth !== undefined) rates = grown(site, positions, growth, frequencies.length);
  const places = draft.op("Unsqueeze", [site.cast(positions, "f32"), site.int64([-1])]);
  const angles = draft.op("Mul", [places, rates]);
  const table = (op: string): string => {
    const values = draft.op(op, [angles]);
    return scale === undefined ? values : draft.op("Mul", [values, scale]);
  };
  return { cos: table("Cos"), sin: table("Sin") };
}

/** Largest position + 1, as a float of shape []. */
function sequenceLength(site: Site, positions: string): string {
  return site.once(`sequence length ${positions}`, () => {
    const last = site.draft.op("ReduceMax", [positions], { keepdims: { kind: "int", value: 0 } });
    return site.draft.op("Add", [site.cast(last, "f32"), site.float(1)]);
  });
}

/** base' = base · (factor · n / length − factor + 1)^(d / (d − 2)) for n positions; frequencies base'^(−2i / d). */
function grown(
  site: Site,
  positions: string,
  { length, factor, theta }: NonNullable<RotarySpec["growth"]>,
  pairs: number,
): string {
  const { draft } = site;
  const n = draft.op("Max", [sequenceLength(site, positions), site.float(length)]);
  const stretched = draft.op("Sub", [draft.op("Mul", [n, site.float(factor / length)]), site.float(factor - 1)]);
  const exponent = pairs > 1 ? pairs / (pairs - 1) : 1;
  const base = draft.op("Mul", [draft.op("Pow", [stretched, site.float(exponent)]), site.float(theta)]);
  const powers = draft.float32(Array.from({ length: pairs }, (_, i) => -i / pairs));
  return draft.op("Pow", [base, powers]);
}
