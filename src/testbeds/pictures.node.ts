import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Normalisation, normalise } from "../data/changes/normalise.ts";
import type { IndexedDataset } from "../data/dataset.ts";
import { openCifar } from "../data/files/cifar.ts";
import { openFile } from "../data/files/file.node.ts";
import { openIdx } from "../data/files/idx.ts";
import { fromRows, withLabels } from "../data/from-tensors.ts";
import { resident } from "../data/resident.ts";
import type { Rows } from "../data/rows.ts";
import { sample, skip, take } from "../data/subset.ts";
import type { PictureSet } from "./courses.ts";
import { scenes } from "./scenes/scenes.ts";
import { glyphs } from "./scenes/settings.ts";

/** Labelled pictures in three parts that share none, under the name "image", as f32. */
export interface Pictures {
  readonly train: IndexedDataset;
  readonly pool: IndexedDataset;
  readonly test: IndexedDataset;
  /** Of noise that looks like them in its range. */
  readonly noise: "normal" | "uniform";
}

/** Opens a set of pictures; a sentence about what is missing where its files are not in the folder. */
export async function openPictures(set: PictureSet, folder: string): Promise<Pictures | string> {
  const missing = files[set].map((name) => join(folder, name)).find((path) => !existsSync(path));
  if (missing !== undefined) return `Set ESPALIER_DATA to a folder with ${files[set].join(", ")}.`;
  switch (set) {
    case "glyphs": {
      const part = (split: string, count: number) => normalise(scenes(glyphs, { count, split }), { scale: 1 / 255 });
      return {
        train: part("train", 5000),
        pool: part("calibration", 1000),
        test: part("test", 20_000),
        noise: "uniform",
      };
    }
    case "mnist": {
      const part = async (name: string) => {
        const [images, labels] = [`mnist/${name}-images-idx3-ubyte.gz`, `mnist/${name}-labels-idx1-ubyte.gz`];
        const rows = await openIdx(await openFile(join(folder, images)), "image");
        return withLabels(
          fromRows([rows], images),
          await classesOf(await openIdx(await openFile(join(folder, labels)))),
        );
      };
      return divided(await part("train10k"), await part("t10k"), { scale: 1 / 255 }, "uniform");
    }
    case "cifar10": {
      const part = async (name: string) => openCifar(await openFile(join(folder, name)), "image");
      const [all, test] = [await part("cifar10/train-10k.bin"), await part("cifar10/test.bin")];
      return divided(all, test, cifarForm, "normal");
    }
  }
}

/** How the ResNets of akamaster/pytorch_resnet_cifar10 were trained to see images. */
export const cifarForm = { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] } as const;

const files: Readonly<Record<PictureSet, readonly string[]>> = {
  glyphs: [],
  mnist: ["train10k", "t10k"].flatMap((name) => [
    `mnist/${name}-images-idx3-ubyte.gz`,
    `mnist/${name}-labels-idx1-ubyte.gz`,
  ]),
  cifar10: ["cifar10/train-10k.bin", "cifar10/test.bin"],
};

/** Pictures of the training set that are kept for calibration. */
const poolSize = 1000;

async function divided(
  all: IndexedDataset,
  test: IndexedDataset,
  form: Normalisation,
  noise: Pictures["noise"],
): Promise<Pictures> {
  const mixed = await resident(sample(all, all.count, 0));
  return {
    pool: normalise(take(mixed, poolSize), form),
    train: normalise(skip(mixed, poolSize), form),
    test: normalise(await resident(test), form),
    noise,
  };
}

async function classesOf(rows: Rows): Promise<Uint8Array> {
  return rows.read(Int32Array.from({ length: rows.count }, (_, i) => i));
}
