import { basename, dirname, join } from "node:path";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat64 } from "../tensor/numeric.ts";
import type { ByteSource } from "../tensor/tensor.ts";
import { bind, type InputType } from "./bind.ts";
import { isPicture, type Layout, normalise, withLayout } from "./changes/normalise.ts";
import type { IndexedDataset } from "./dataset.ts";
import { openCifar } from "./files/cifar.ts";
import { describePath, openFile, readText } from "./files/file.node.ts";
import { openIdx } from "./files/idx.ts";
import { imageFolder } from "./files/images.node.ts";
import { openNpy } from "./files/npy.ts";
import { npzDataset, whole } from "./files/npz.ts";
import { type ImagePreparation, parsePreprocessor, type Size } from "./files/preprocessor.ts";
import { fromRows, withLabels } from "./from-tensors.ts";
import { randomInputs } from "./random-inputs.ts";
import { concatenated, sample, shuffled, take } from "./subset.ts";
import { isText, openText, type TextForm } from "./text/open-text.node.ts";

export interface OpenOptions {
  /** At most this many samples: the first ones, or random ones with a seed. */
  readonly limit?: number;
  /** Decides the order of the samples; without it they come as stored. */
  readonly seed?: number;
  /** What each element is multiplied by. 1/255 for images, unless told. */
  readonly scale?: number;
  /** Subtracted after scaling, one number or one per channel. */
  readonly mean?: readonly number[];
  /** Divided by after that. */
  readonly std?: readonly number[];
  /** Pixels of the images fed: a square or [height, width]. Pictures are scaled until they cover it, then cut. */
  readonly size?: number | readonly [number, number];
  /** The shorter side to scale pictures to before cutting, where it is more than `size`. */
  readonly resize?: number;
  /** For images how the model takes them, for arrays how they are stored. Learnt from the model, unless told. */
  readonly layout?: Layout;
  /** A file of classes: .npy, idx, or text with one number on each line. */
  readonly labels?: string;
  /** The model's inputs, to which the data is then bound. */
  readonly inputs?: readonly InputType[];
  /** The model's file or folder; a `preprocessor_config.json` beside it gives defaults for images, a tokenizer for text. */
  readonly model?: string;
  /** How text becomes windows of tokens. */
  readonly text?: TextForm;
  /** Opens what has an http(s) address. */
  readonly remote?: (address: string) => Promise<ByteSource>;
}

const kinds = [
  "a folder of images",
  ".npy",
  ".npz",
  "idx (MNIST: *-idx3-ubyte, .gz)",
  ".bin (CIFAR-10, CIFAR-100)",
  "text (.txt, .jsonl, .parquet)",
  '"random" for made-up inputs',
];

const maxLabelBytes = 2 ** 27;
const maxConfigBytes = 2 ** 20;

/** What a path led to. Images are bytes whose scale is known to be 255; arrays are taken as they are. */
interface Opened {
  readonly dataset: IndexedDataset;
  readonly images: boolean;
  readonly layout: Layout;
}

/**
 * Opens calibration or evaluation data by path, several in sequence: a folder of images, .npy, .npz, idx, CIFAR.
 * With `inputs` it is checked against the model and converted. Throws `file`, `format`, `data` or `request`.
 */
export async function openData(spec: string | readonly string[], options: OpenOptions = {}): Promise<IndexedDataset> {
  const specs = typeof spec === "string" ? [spec] : spec;
  if (specs.length === 1 && specs[0] === "random") return openRandom(options);
  if (await isText(specs, options)) return openText(specs, options);
  const wanted = wantedForm(options);
  const preparation = await readPreparation(options.model);
  const opened: Opened[] = [];
  for (const path of specs) opened.push(await openOne(path, options, preparation, wanted));
  const [first] = opened;
  if (first === undefined) throw new EspalierError("request", "data", "expected a path, got none.");
  const joined = opened.length === 1 ? first.dataset : concatenated(opened.map(({ dataset }) => dataset));
  const labelled =
    options.labels === undefined ? joined : withLabels(joined, await readLabels(options.labels), options.labels);
  const chosen = choose(labelled, options);
  const pixels = normalised(chosen, first, options, preparation);
  const target = wanted.layout ?? (first.images ? options.layout : undefined) ?? first.layout;
  const pictures = [...pixels.features].filter(([, feature]) => isPicture(feature)).map(([name]) => name);
  const laid = withLayout(pixels, first.layout, target, pictures);
  return options.inputs === undefined ? laid : bind(laid, options.inputs);
}

/** Made-up inputs. The only input of whole numbers is one of tokens, where the text of a model is known: windows of its vocabulary. */
function openRandom({ inputs, limit, seed, text = {} }: OpenOptions): IndexedDataset {
  if (inputs === undefined)
    throw new EspalierError("request", "random", "expected a model whose inputs to make up, got none.");
  const { window, vocabulary } = text;
  const whole = inputs.filter(({ dtype }) => dtype !== null && !isFloat(dtype));
  const [tokens] = whole.length === 1 ? whole : [];
  const sized = inputs.map((input) => {
    if (input !== tokens || window === undefined || input.dims === undefined) return input;
    return { ...input, dims: input.dims.map((dim, axis) => (axis > 0 && typeof dim !== "number" ? window : dim)) };
  });
  return randomInputs(sized, {
    ...(tokens === undefined || vocabulary === undefined ? {} : { below: vocabulary }),
    ...(limit === undefined ? {} : { count: limit }),
    ...(seed === undefined ? {} : { seed }),
  });
}

async function openOne(
  path: string,
  options: OpenOptions,
  preparation: ImagePreparation,
  wanted: Wanted,
): Promise<Opened> {
  if ((await describePath(path)).folder) {
    const layout = options.layout ?? wanted.layout ?? "nchw";
    const form = { ...scaling(options, preparation, wanted), layout, channels: wanted.channels ?? 3 };
    return { dataset: await imageFolder(path, form), images: true, layout };
  }
  const source = await openFile(path);
  const stored = options.layout ?? wanted.layout ?? "nchw";
  switch (await kindOf(source)) {
    case "npy":
      return { dataset: fromRows([await openNpy(source)], path), images: false, layout: stored };
    case "npz": {
      const names = new Set(options.inputs?.map((input) => input.name));
      return { dataset: await npzDataset(source, names), images: false, layout: stored };
    }
    case "idx":
      return { dataset: await openIdxWithLabels(source, options), images: true, layout: "nchw" };
    case "cifar":
      return { dataset: await openCifar(source), images: true, layout: "nchw" };
  }
}

async function kindOf(source: ByteSource): Promise<"npy" | "npz" | "idx" | "cifar"> {
  const name = basename(source.name).toLowerCase();
  const start = await source.read(0, Math.min(4, source.size));
  const begins = (...bytes: number[]) => bytes.every((byte, i) => start[i] === byte);
  if (name.endsWith(".npy") || begins(0x93, 0x4e, 0x55, 0x4d)) return "npy";
  if (name.endsWith(".npz") || begins(0x50, 0x4b, 3, 4)) return "npz";
  if (/\.idx(\.gz)?$|idx\d[-.]|ubyte/.test(name)) return "idx";
  if (name.endsWith(".bin")) return "cifar";
  const got = name.includes(".") ? `"${name.slice(name.lastIndexOf("."))}"` : "a file without an ending";
  throw new EspalierError("data", source.name, `expected one of ${kinds.join("; ")}, got ${got}.`);
}

/** Images with the labels that lie beside them under the name that MNIST gives them. */
async function openIdxWithLabels(source: ByteSource, options: OpenOptions): Promise<IndexedDataset> {
  const dataset = fromRows([await openIdx(source)], source.name);
  if (options.labels !== undefined) return dataset;
  const name = basename(source.name);
  const sibling = name.replace(/images([-.])idx3/, "labels$1idx1");
  if (sibling === name) return dataset;
  const bare = sibling.replace(/\.gz$/, "");
  for (const candidate of [sibling, bare, `${bare}.gz`]) {
    const path = join(dirname(source.name), candidate);
    if (await exists(path)) return withLabels(dataset, await readLabels(path), path);
  }
  return dataset;
}

async function readLabels(path: string): Promise<ArrayLike<number>> {
  if (/\.(txt|csv)$/i.test(path)) {
    const lines = (await readText(path, maxLabelBytes)).trim().split(/\s*\n\s*/);
    const wrong = lines.findIndex((line) => !/^\d+$/.test(line));
    if (wrong < 0) return lines.map(Number);
    const got = (lines[wrong] ?? "").slice(0, 40);
    throw new EspalierError("data", path, `expected one class number on each line, got "${got}" on line ${wrong + 1}.`);
  }
  const source = await openFile(path);
  const kind = await kindOf(source);
  if (kind !== "npy" && kind !== "idx") {
    throw new EspalierError("data", path, "expected labels as .npy, idx or .txt, got another kind.");
  }
  const rows = kind === "npy" ? await openNpy(source) : await openIdx(source);
  if (!rows.shape.every((n) => n === 1)) {
    const got = `[${[rows.count, ...rows.shape].join(", ")}]`;
    throw new EspalierError("data", path, `expected labels of shape [count], got ${got}.`);
  }
  return toFloat64(await whole(rows));
}

function choose(dataset: IndexedDataset, { limit, seed }: OpenOptions): IndexedDataset {
  if (seed === undefined) return limit === undefined ? dataset : take(dataset, limit);
  return limit === undefined ? shuffled(dataset, seed) : sample(dataset, limit, seed);
}

function normalised(
  dataset: IndexedDataset,
  { images, layout }: Opened,
  options: OpenOptions,
  preparation: ImagePreparation,
): IndexedDataset {
  const told = options.scale !== undefined || options.mean !== undefined || options.std !== undefined;
  const wantsBytes = options.inputs?.every((input) => input.dtype === "u8") === true;
  const asIs = options.scale === 1 && options.mean === undefined && options.std === undefined;
  if (asIs || (!told && (!images || wantsBytes))) return dataset;
  const names = [...dataset.features].filter(([, { dtype }]) => /^(u8|f16|bf16|f32|f64)$/.test(dtype)).map(([n]) => n);
  const bytes = names.some((name) => dataset.features.get(name)?.dtype === "u8");
  const scale = options.scale ?? (images ? preparation.scale : undefined) ?? (bytes ? 1 / 255 : 1);
  const mean = options.mean ?? (images ? preparation.mean : undefined);
  const std = options.std ?? (images ? preparation.std : undefined);
  return normalise(dataset, { scale, layout, names, ...(mean && { mean }), ...(std && { std }) });
}

/** What the model's inputs say of the images it takes. */
interface Wanted {
  readonly layout?: Layout;
  readonly size?: Size;
  readonly channels?: 1 | 3;
}

function wantedForm({ inputs }: OpenOptions): Wanted {
  const dims = inputs?.find((input) => input.dims?.length === 4)?.dims;
  if (dims === undefined) return {};
  const [, second, third, fourth] = dims;
  const isChannels = (dim: unknown): dim is 1 | 3 => dim === 1 || dim === 3;
  const layout = isChannels(second) ? "nchw" : isChannels(fourth) ? "nhwc" : undefined;
  if (layout === undefined) return {};
  const channels = layout === "nchw" ? second : fourth;
  const [height, width] = layout === "nchw" ? [third, fourth] : [second, third];
  const sized = typeof height === "number" && typeof width === "number";
  return { layout, ...(isChannels(channels) && { channels }), ...(sized && { size: { height, width } }) };
}

/** The user's sizes before the preprocessor's before the model's. */
function scaling(options: OpenOptions, preparation: ImagePreparation, wanted: Wanted): ImagePreparation {
  const { cover, exact, crop, resample = "linear" } = preparation;
  const asked = squareOf(options.size);
  const shorter = squareOf(options.resize);
  if (asked !== undefined || shorter !== undefined) {
    const target = asked ?? wanted.size;
    const covered = shorter ?? target;
    return { ...(covered && { cover: covered }), ...(target && { crop: target }), resample };
  }
  if (cover !== undefined || exact !== undefined || crop !== undefined) {
    const cut = crop ?? (exact === undefined ? wanted.size : undefined);
    return { ...(exact && { exact }), ...(cover && { cover }), ...(cut && { crop: cut }), resample };
  }
  return wanted.size === undefined ? { resample } : { cover: wanted.size, crop: wanted.size, resample };
}

function squareOf(size: OpenOptions["size"]): Size | undefined {
  if (size === undefined) return undefined;
  const [height, width] = typeof size === "number" ? [size, size] : size;
  for (const side of [height, width]) {
    if (Number.isInteger(side) && side >= 1 && side <= 16_384) continue;
    throw new EspalierError("request", "size", `expected whole numbers from 1 to 16384, got ${side}.`);
  }
  return { height, width };
}

async function readPreparation(model: string | undefined): Promise<ImagePreparation> {
  if (model === undefined) return {};
  const path = join(dirname(model), "preprocessor_config.json");
  return (await exists(path)) ? parsePreprocessor(await readText(path, maxConfigBytes), path) : {};
}

async function exists(path: string): Promise<boolean> {
  try {
    await describePath(path);
    return true;
  } catch (error) {
    if (error instanceof EspalierError) return false;
    throw error;
  }
}
