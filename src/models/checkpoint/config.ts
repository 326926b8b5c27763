import * as z from "zod";
import { EspalierError } from "../../tensor/error.ts";
import type { RotarySpec } from "../parts/rotary.ts";
import { rotaryFrom } from "../parts/rotary-scaling.ts";

/** A field that may be missing or null, with what it then is. */
export function optional<T>(shape: z.ZodType<T>, otherwise: T) {
  return shape.nullish().transform((value) => value ?? otherwise);
}

/** Counts in configs: at least 1, and no more than any model has of anything. */
export const count = z
  .int()
  .min(1)
  .max(2 ** 24);

/** Counts of what a single block may have none of. */
export const countOrNone = z
  .int()
  .min(0)
  .max(2 ** 24);

/** Numbers of blocks. */
export const blockCount = z.int().min(1).max(4096);

export const flag = z.boolean();

/** Reads the fields that a model needs; others are left alone. Throws `format` for the first that is wrong. */
export function readConfig<T>(shape: z.ZodType<T>, config: unknown, checkpoint: string): T {
  const parsed = shape.safeParse(config);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const field = issue?.path.join(".") ?? "";
  const where = `${checkpoint}/config.json${field === "" ? "" : `: ${field}`}`;
  throw new EspalierError("format", where, `expected what its model_type has there, got: ${issue?.message}.`);
}

const scaling = z.record(z.string(), z.unknown());

/** What configs say of rotary positions: `rope_theta` and `rope_scaling`, or both in `rope_parameters`. */
export const rotaryFields = {
  max_position_embeddings: optional(count, 2048),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: scaling.nullish(),
  rope_parameters: scaling.nullish(),
  partial_rotary_factor: z.number().positive().max(1).nullish(),
  original_max_position_embeddings: count.nullish(),
};

const rotaryShape = z.object(rotaryFields);
type RotaryFields = z.output<typeof rotaryShape>;

/** The rotary positions of heads of `size` features. `share` of them turns where the config does not say. */
export function rotaryOf(c: RotaryFields, size: number, { theta = 10_000, share = 1 } = {}): RotarySpec {
  const both = c.rope_parameters ?? undefined;
  const given = both ?? c.rope_scaling ?? null;
  const part = z.number().safeParse(both?.["partial_rotary_factor"]).data ?? c.partial_rotary_factor ?? share;
  return rotaryFrom({
    size: Math.floor(size * part),
    theta: z.number().safeParse(both?.["rope_theta"]).data ?? c.rope_theta ?? theta,
    positions: c.max_position_embeddings,
    scaling: given,
    originalPositions: c.original_max_position_embeddings ?? undefined,
  });
}
