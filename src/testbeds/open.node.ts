import { existsSync } from "node:fs";
import { join } from "node:path";
import { openData } from "../data/open.node.ts";
import { randomInputs } from "../data/random-inputs.ts";
import { sample } from "../data/subset.ts";
import { openOnnx } from "../formats/onnx/external.node.ts";
import { modelFrom } from "../models/model.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import type { Absent, Testbed } from "./testbed.ts";

interface Place {
  readonly folder: string;
  readonly model: string;
  readonly pool: string;
  readonly test: string;
  readonly noise: "normal" | "uniform";
  readonly preparation: { readonly scale: number; readonly mean?: readonly number[]; readonly std?: readonly number[] };
  /** What to do where the files are absent. */
  readonly hint: string;
}

const root = join(import.meta.dirname, "../..");

/** How the ResNets of akamaster/pytorch_resnet_cifar10 were trained to see images. */
const cifar = (model: string): Place => ({
  folder: process.env["ESPALIER_DATA"] ?? join(root, "../shared/data"),
  model,
  pool: "cifar10/train-10k.bin",
  test: "cifar10/test.bin",
  noise: "normal",
  preparation: { scale: 1 / 255, mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225] },
  hint: `Set ESPALIER_DATA to a folder with ${model}, cifar10/train-10k.bin and cifar10/test.bin.`,
});

const places = {
  "cifar-resnet20": cifar("models/resnet20-cifar10.onnx"),
  "cifar-resnet56": cifar("models/resnet56-cifar10.onnx"),
  glyphs: {
    folder: join(root, "examples/glyphs"),
    model: "glyphs.onnx",
    pool: "calibration.npy",
    test: "test.npz",
    noise: "uniform",
    preparation: { scale: 1 / 255 },
    hint: "It comes with the repository, not with the installed package.",
  },
} satisfies Readonly<Record<string, Place>>;

/** Names of the testbeds, the one that needs no other files last. */
export const testbedIds: readonly string[] = Object.keys(places);

/** Opens a testbed; `samples` of its test set, the same ones each time. Throws `request` for an unknown name. */
export async function openTestbed(id: string, { samples = 2000 } = {}): Promise<Testbed | Absent> {
  const place = new Map<string, Place>(Object.entries(places)).get(id);
  if (place === undefined) {
    const hint = didYouMean(id, testbedIds);
    throw new EspalierError("request", `testbed ${id}`, `expected one of ${testbedIds.join(", ")}.`, hint);
  }
  const { folder, preparation, noise } = place;
  const [modelPath, poolPath, testPath] = [place.model, place.pool, place.test].map((file) => join(folder, file));
  if (modelPath === undefined || poolPath === undefined || testPath === undefined) throw new Error("three paths");
  const gone = [modelPath, poolPath, testPath].find((path) => !existsSync(path));
  if (gone !== undefined) return { id, absent: `${id} needs files that are not here. ${place.hint}` };
  const onnx = await openOnnx(modelPath);
  const inputs = onnx.graph.inputs;
  const form = { ...preparation, inputs };
  const pool = await openData(poolPath, form);
  const all = await openData(testPath, form);
  const test = sample(all, Math.min(samples, all.count), 1);
  return {
    id,
    description: `${place.model}, ${test.count} of the ${all.count} images of ${place.test}, calibration from ${place.pool}`,
    model: modelFrom(place.model, onnx),
    pool,
    test,
    noise: (count, seed) => randomInputs(inputs, { count, seed, distribution: noise }),
  };
}
