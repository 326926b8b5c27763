import * as z from "zod";
import { EspalierError } from "../../tensor/error.ts";
import type { RotarySpec } from "./rotary.ts";

/** What a config says of rotary positions, in its older form (`rope_theta`, `rope_scaling`) or its newer one. */
export interface RotaryConfig {
  /** Features of a head that turn. */
  readonly size: number;
  readonly theta: number;
  readonly positions: number;
  readonly scaling: Readonly<Record<string, unknown>> | null;
  /** Where the config states it beside the scaling. */
  readonly originalPositions?: number | undefined;
}

/** No head has more. */
const mostFeatures = 65_536;

const number = z.number();
const list = z.array(z.number());

const shapes = {
  linear: z.object({ factor: number }),
  dynamic: z.object({ factor: number, original_max_position_embeddings: number.nullish() }),
  llama3: z.object({
    factor: number,
    low_freq_factor: number,
    high_freq_factor: number,
    original_max_position_embeddings: number,
  }),
  yarn: z.object({
    factor: number.nullish(),
    original_max_position_embeddings: number.nullish(),
    beta_fast: number.nullish(),
    beta_slow: number.nullish(),
    attention_factor: number.nullish(),
    mscale: number.nullish(),
    mscale_all_dim: number.nullish(),
    truncate: z.boolean().nullish(),
  }),
  longrope: z.object({
    short_factor: list,
    long_factor: list,
    factor: number.nullish(),
    attention_factor: number.nullish(),
    original_max_position_embeddings: number.nullish(),
  }),
};

/** The frequencies of a config, each kind of scaling after its paper or its first release. Throws `format`. */
export function rotaryFrom(config: RotaryConfig): RotarySpec {
  const { size, theta, scaling, positions } = config;
  if (size < 2 || size % 2 !== 0 || size > mostFeatures) {
    const message = `expected an even number of features of a head that turn with positions, up to ${mostFeatures}, got ${size}.`;
    throw new EspalierError("format", "config.json", message, "The config is damaged; fetch it again.");
  }
  const plain = Array.from({ length: size / 2 }, (_, i) => theta ** ((-2 * i) / size));
  const kind = String(scaling?.["rope_type"] ?? scaling?.["type"] ?? "default");
  switch (kind) {
    case "default":
      return { frequencies: plain, amplitude: 1 };
    case "linear": {
      const { factor } = read(shapes.linear, scaling);
      return { frequencies: plain.map((f) => f / factor), amplitude: 1 };
    }
    case "dynamic": {
      const { factor, original_max_position_embeddings: original } = read(shapes.dynamic, scaling);
      return { frequencies: plain, amplitude: 1, growth: { length: original ?? positions, factor, theta } };
    }
    case "llama3": {
      const s = read(shapes.llama3, scaling);
      return { frequencies: plain.map((f) => slowed(f, s)), amplitude: 1 };
    }
    case "yarn":
      return yarn(plain, config, read(shapes.yarn, scaling));
    case "longrope":
    case "su":
      return long(plain, config, read(shapes.longrope, scaling));
    default: {
      const known = "default, linear, dynamic, llama3, yarn, longrope";
      throw new EspalierError("format", "config.json: rope_scaling", `expected one of ${known}, got "${kind}".`);
    }
  }
}

function read<T>(shape: z.ZodType<T>, scaling: unknown): T {
  const parsed = shape.safeParse(scaling);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const where = `config.json: rope_scaling.${issue?.path.join(".") ?? ""}`;
  throw new EspalierError("format", where, `expected another value (${issue?.message ?? "unknown"}).`);
}

/** Low frequencies are divided by the factor, high ones stay, those between pass from one to the other (Llama 3.1). */
function slowed(f: number, s: z.infer<typeof shapes.llama3>): number {
  const wavelength = (2 * Math.PI) / f;
  const turns = s.original_max_position_embeddings / wavelength;
  if (turns < s.low_freq_factor) return f / s.factor;
  if (turns > s.high_freq_factor) return f;
  const share = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
  return (1 - share) * (f / s.factor) + share * f;
}

/** YaRN, arXiv 2309.00071: by how often a pair turns in the original context it is interpolated or left. */
function yarn(plain: readonly number[], config: RotaryConfig, s: z.infer<typeof shapes.yarn>): RotarySpec {
  const { size, theta, positions } = config;
  const original = s.original_max_position_embeddings ?? positions;
  const factor = s.factor ?? positions / original;
  const pairAt = (turns: number): number => (size * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
  const whole = s.truncate ?? true;
  const first = pairAt(s.beta_fast ?? 32);
  const last = pairAt(s.beta_slow ?? 1);
  const low = Math.max(whole ? Math.floor(first) : first, 0);
  const high = Math.min(whole ? Math.ceil(last) : last, size - 1);
  const width = high === low ? 0.001 : high - low;
  const frequencies = plain.map((f, i) => {
    const interpolated = Math.min(Math.max((i - low) / width, 0), 1);
    return (f / factor) * interpolated + f * (1 - interpolated);
  });
  const { mscale, mscale_all_dim: all } = s;
  const stated = mscale && all ? magnitude(factor, mscale) / magnitude(factor, all) : magnitude(factor, 1);
  return { frequencies, amplitude: s.attention_factor ?? stated };
}

const magnitude = (factor: number, scale: number): number => (factor <= 1 ? 1 : 0.1 * scale * Math.log(factor) + 1);

/** What queries and keys are each multiplied with, where a config of YaRN asks for it in `mscale_all_dim`. */
export function yarnMagnitude(scaling: RotaryConfig["scaling"]): number {
  const found = shapes.yarn.safeParse(scaling).data;
  return found?.mscale_all_dim && found.factor ? magnitude(found.factor, found.mscale_all_dim) : 1;
}

/** LongRoPE, arXiv 2402.13753: a factor for each pair, of which there are two sets. */
function long(plain: readonly number[], config: RotaryConfig, s: z.infer<typeof shapes.longrope>): RotarySpec {
  for (const [name, factors] of Object.entries({ short_factor: s.short_factor, long_factor: s.long_factor })) {
    if (factors.length === plain.length) continue;
    const message = `expected ${plain.length} factors, one for each pair, got ${factors.length}.`;
    throw new EspalierError("format", `config.json: rope_scaling.${name}`, message);
  }
  const original = config.originalPositions ?? s.original_max_position_embeddings ?? config.positions;
  const factor = original === config.positions ? (s.factor ?? 1) : config.positions / original;
  const grown = factor <= 1 ? 1 : Math.sqrt(1 + Math.log(factor) / Math.log(original));
  const amplitude = s.attention_factor ?? grown;
  const by = (factors: readonly number[]): number[] => plain.map((f, i) => f / (factors[i] ?? 1));
  return {
    frequencies: by(s.short_factor),
    amplitude,
    beyond: { length: original, frequencies: by(s.long_factor), amplitude },
  };
}
