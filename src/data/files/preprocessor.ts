import * as z from "zod";
import { EspalierError } from "../../tensor/error.ts";

/** How pictures become pixels of one size. */
export interface ImagePreparation {
  /** The picture is scaled, its form kept, until it just covers this many pixels. */
  readonly cover?: Size;
  /** The picture is scaled to exactly this many pixels, whatever its form. */
  readonly exact?: Size;
  /** The middle that is kept after scaling. */
  readonly crop?: Size;
  readonly resample?: Resample;
  readonly scale?: number;
  readonly mean?: readonly number[];
  readonly std?: readonly number[];
}

export interface Size {
  readonly height: number;
  readonly width: number;
}

export type Resample = "nearest" | "linear" | "cubic" | "lanczos3";

const side = z.int().min(1).max(16_384);
const sizeForm = z.union([
  side,
  z.object({ height: side, width: side }),
  z.object({ shortest_edge: side }),
  z.tuple([side, side]),
]);

/** The part of a `preprocessor_config.json` of the Hugging Face hub that concerns pixels. */
const form = z.object({
  do_resize: z.boolean().optional(),
  size: sizeForm.nullish(),
  resample: z.int().nullish(),
  do_center_crop: z.boolean().nullish(),
  crop_size: sizeForm.nullish(),
  crop_pct: z.number().gt(0).max(1).nullish(),
  do_rescale: z.boolean().nullish(),
  rescale_factor: z.number().nullish(),
  do_normalize: z.boolean().nullish(),
  image_mean: z.union([z.number(), z.array(z.number())]).nullish(),
  image_std: z.union([z.number(), z.array(z.number())]).nullish(),
});

/** PIL's numbers for its filters; 4 and 5, box and Hamming, have no near relative and become linear. */
const filters: readonly Resample[] = ["nearest", "lanczos3", "linear", "cubic", "linear", "linear"];

/** What a `preprocessor_config.json` asks for. Throws `format` where it is not of that form. */
export function parsePreprocessor(text: string, where: string): ImagePreparation {
  const config = form.safeParse(parseJson(text, where));
  if (!config.success) {
    const [issue] = config.error.issues;
    const path = issue === undefined ? "" : issue.path.join(".");
    throw new EspalierError("format", where, `expected image preprocessing, got "${path}": ${issue?.message ?? ""}.`);
  }
  const { size, crop_size: cropSize, crop_pct: cropPart, resample, rescale_factor: factor } = config.data;
  const { image_mean: mean, image_std: std } = config.data;
  const normalises = config.data.do_normalize ?? (mean !== undefined && mean !== null);
  return {
    ...(config.data.do_resize === false || size == null ? {} : resizing(size, config.data.do_center_crop, cropPart)),
    ...(config.data.do_center_crop === true && cropSize != null ? { crop: square(cropSize) } : {}),
    ...(resample == null ? {} : { resample: filters[resample] ?? "linear" }),
    ...(config.data.do_rescale === false ? { scale: 1 } : factor == null ? {} : { scale: factor }),
    ...(normalises && mean != null ? { mean: [mean].flat() } : {}),
    ...(normalises && std != null ? { std: [std].flat() } : {}),
  };
}

type SizeForm = z.infer<typeof sizeForm>;

function resizing(
  size: SizeForm,
  crops: boolean | null | undefined,
  part: number | null | undefined,
): ImagePreparation {
  const target = square(size);
  const shorter = typeof size === "object" && "shortest_edge" in size;
  // ConvNeXt's processor: below 384 pixels the picture is scaled larger, then its middle taken.
  if (part != null) {
    if (target.height >= 384) return { exact: target };
    const larger = Math.floor(target.height / part);
    return { cover: { height: larger, width: larger }, crop: target };
  }
  return shorter || (typeof size === "number" && crops === true) ? { cover: target } : { exact: target };
}

function square(size: SizeForm): Size {
  if (typeof size === "number") return { height: size, width: size };
  if ("height" in size) return size;
  if ("shortest_edge" in size) return { height: size.shortest_edge, width: size.shortest_edge };
  return { height: size[0], width: size[1] };
}

function parseJson(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("format", where, `expected JSON, got text that does not parse (${reason}).`, "", { cause });
  }
}
