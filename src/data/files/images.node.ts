import { readdir } from "node:fs/promises";
import { extname, join } from "node:path";
import type { Sharp } from "sharp";
import { EspalierError } from "../../tensor/error.ts";
import type { Layout } from "../changes/normalise.ts";
import { type IndexedDataset, indexed } from "../dataset.ts";
import { withLabels } from "../from-tensors.ts";
import { refused } from "./file.node.ts";
import type { ImagePreparation, Size } from "./preprocessor.ts";

const extensions: ReadonlySet<string> = new Set([".png", ".jpg", ".jpeg", ".webp", ".gif", ".tif", ".tiff", ".avif"]);

/** A picture of more pixels than this is refused before it is decoded. */
const maxPixels = 100_000_000;
const maxDepth = 16;
const decodersAtOnce = 4;

/** How pictures become samples; scale, mean and std are applied by `normalise`. */
export interface ImageFolderOptions extends Pick<ImagePreparation, "cover" | "exact" | "crop" | "resample"> {
  readonly layout?: Layout;
  /** 3 for colour, 1 for grey. */
  readonly channels?: 1 | 3;
}

/** The images of a folder, before anything is decoded. `classes` where every class has a subfolder. */
interface Listing {
  readonly files: readonly string[];
  readonly classes?: readonly string[];
  /** Class of each file. */
  readonly labels?: readonly number[];
}

/**
 * The images of a folder as bytes [channels, height, width] or [height, width, channels], decoded batch by batch.
 * Subfolders are classes, numbered in the order of their names. Without a size the first image decides it.
 * Throws `data` for an empty folder, `request` where the package sharp is missing; naming the file for a broken image.
 */
export async function imageFolder(folder: string, options: ImageFolderOptions = {}): Promise<IndexedDataset> {
  const listing = await listImages(folder);
  const decoder = await openDecoder(options);
  const { layout = "nchw", channels = 3 } = options;
  const first = listing.files[0] ?? "";
  const { height, width } = options.crop ?? options.exact ?? (await decoder(first));
  const imageSize = channels * height * width;
  const described = listing.classes === undefined ? "" : ` in ${listing.classes.length} classes`;
  const dataset = indexed({
    description: `${listing.files.length} images${described} of ${folder}, ${width} x ${height}`,
    count: listing.files.length,
    labelled: false,
    features: new Map([
      ["data", { dtype: "u8", shape: layout === "nchw" ? [channels, height, width] : [height, width, channels] }],
    ]),
    async gather(positions) {
      const bytes = new Uint8Array(positions.length * imageSize);
      let next = 0;
      const work = async (): Promise<void> => {
        while (next < positions.length) {
          const i = next++;
          const path = listing.files[positions[i] ?? 0] ?? "";
          const image = await decoder(path).catch((error: unknown) => {
            next = positions.length;
            throw error;
          });
          if (image.height !== height || image.width !== width) {
            const message = `expected ${width} x ${height} pixels like ${first}, got ${image.width} x ${image.height}.`;
            throw new EspalierError("data", path, message, "Set a size, so that all become equal.");
          }
          place(image.pixels, bytes.subarray(i * imageSize, (i + 1) * imageSize), channels, layout);
        }
      };
      await Promise.all(Array.from({ length: decodersAtOnce }, work));
      const shape = layout === "nchw" ? [channels, height, width] : [height, width, channels];
      const tensor = { dtype: "u8", shape: [positions.length, ...shape], bytes } as const;
      return { inputs: new Map([["data", tensor]]), count: positions.length };
    },
  });
  return listing.labels === undefined ? dataset : withLabels(dataset, listing.labels, folder);
}

async function listImages(folder: string): Promise<Listing> {
  const entries = await refused(folder, readdir(folder, { withFileTypes: true }));
  const visible = entries.filter((entry) => !entry.name.startsWith(".")).sort((a, b) => order(a.name, b.name));
  const flat = visible.filter((entry) => !entry.isDirectory() && isImage(entry.name)).map((e) => join(folder, e.name));
  const classes = visible.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const files: string[] = [];
  const labels: number[] = [];
  for (const [label, name] of classes.entries()) {
    for (const file of await imagesBelow(join(folder, name), 1)) {
      files.push(file);
      labels.push(label);
    }
  }
  if (flat.length > 0 && files.length > 0) {
    const message = `expected images either beside each other or in one subfolder per class, got ${flat.length} and ${files.length}.`;
    throw new EspalierError("data", folder, message);
  }
  if (flat.length > 0) return { files: flat };
  if (files.length > 0) return { files, labels, classes };
  const got = visible.length === 0 ? "an empty folder" : `${visible.length} other entries`;
  const hint = "Data files such as .npy are named one by one, not by their folder.";
  const message = `expected images (${[...extensions].join(", ")}), got ${got}.`;
  throw new EspalierError("data", folder, message, visible.length === 0 ? "" : hint);
}

async function imagesBelow(folder: string, depth: number): Promise<string[]> {
  if (depth > maxDepth) return [];
  const entries = await refused(folder, readdir(folder, { withFileTypes: true }));
  const files: string[] = [];
  for (const entry of entries.sort((a, b) => order(a.name, b.name))) {
    if (entry.name.startsWith(".")) continue;
    if (entry.isDirectory()) files.push(...(await imagesBelow(join(folder, entry.name), depth + 1)));
    else if (isImage(entry.name)) files.push(join(folder, entry.name));
  }
  return files;
}

/** By code units: the same on every machine, whatever its language. */
function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function isImage(name: string): boolean {
  return extensions.has(extname(name).toLowerCase());
}

interface Picture extends Size {
  /** Red, green and blue of each pixel, row by row. */
  readonly pixels: Uint8Array;
}

type Decoder = (path: string) => Promise<Picture>;

async function openDecoder(options: ImageFolderOptions): Promise<Decoder> {
  const sharp = await loadSharp();
  return async (path) => {
    try {
      const image = sharp(path, { failOn: "error", limitInputPixels: maxPixels, pages: 1 });
      const { width, height } = await image.metadata();
      const prepared = prepare(image, { width, height }, options);
      // Pixels as other tools decode them: alpha dropped, no rotation by metadata, 8 bits, three channels.
      const raw = prepared.removeAlpha().toColourspace("srgb").raw({ depth: "uchar" });
      const { data, info } = await raw.toBuffer({ resolveWithObject: true });
      const pixels = info.channels === 3 ? data : threeChannels(data, info.channels);
      return { pixels, width: info.width, height: info.height };
    } catch (cause) {
      if (cause instanceof EspalierError) throw cause;
      const reason = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
      throw new EspalierError("data", path, `expected an image, got one that does not decode (${reason}).`, "", {
        cause,
      });
    }
    function prepare(image: Sharp, from: Size, { cover, exact, crop, resample = "linear" }: ImageFolderOptions): Sharp {
      const size = exact ?? (cover === undefined ? from : covering(from, cover));
      const same = size.width === from.width && size.height === from.height;
      const scaled = same ? image : image.resize({ ...size, fit: "fill", kernel: resample, fastShrinkOnLoad: false });
      if (crop === undefined) return scaled;
      const left = Math.floor((size.width - crop.width) / 2);
      const top = Math.floor((size.height - crop.height) / 2);
      if (left < 0 || top < 0) {
        const got = `${size.width} x ${size.height}`;
        const message = `expected at least ${crop.width} x ${crop.height} pixels to take the middle of, got ${got}.`;
        throw new EspalierError("data", path, message, "Set a size to scale to.");
      }
      return scaled.extract({ left, top, width: crop.width, height: crop.height });
    }
  };
}

/** The smallest size of the same form that covers the target; the longer side is cut, not rounded, as torchvision does. */
function covering(from: Size, target: Size): Size {
  if (target.height * from.width >= target.width * from.height) {
    const width = Math.max(target.width, Math.floor((from.width * target.height) / from.height));
    return { height: target.height, width };
  }
  const height = Math.max(target.height, Math.floor((from.height * target.width) / from.width));
  return { height, width: target.width };
}

async function loadSharp() {
  try {
    return (await import("sharp")).default;
  } catch (cause) {
    const message = "expected the package sharp, which decodes images, got none.";
    throw new EspalierError("request", "images", message, "Install it: npm install sharp.", { cause });
  }
}

function threeChannels(data: Uint8Array, channels: number): Uint8Array {
  const out = new Uint8Array((data.length / channels) * 3);
  for (let from = 0, to = 0; from < data.length; from += channels, to += 3) {
    const grey = data[from] ?? 0;
    out[to] = grey;
    out[to + 1] = grey;
    out[to + 2] = grey;
  }
  return out;
}

/** Writes interleaved red, green and blue in the wanted channels and layout. */
function place(pixels: Uint8Array, out: Uint8Array, channels: 1 | 3, layout: Layout): void {
  if (channels === 1) {
    // ITU-R 601-2 luma in 16-bit fixed point.
    for (let i = 0, from = 0; i < out.length; i++, from += 3) {
      const sum = (pixels[from] ?? 0) * 19595 + (pixels[from + 1] ?? 0) * 38470 + (pixels[from + 2] ?? 0) * 7471;
      out[i] = (sum + 0x8000) >> 16;
    }
  } else if (layout === "nhwc") out.set(pixels);
  else {
    const plane = pixels.length / 3;
    for (let i = 0, from = 0; i < plane; i++, from += 3) {
      out[i] = pixels[from] ?? 0;
      out[plane + i] = pixels[from + 1] ?? 0;
      out[2 * plane + i] = pixels[from + 2] ?? 0;
    }
  }
}
