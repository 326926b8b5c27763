import { existsSync } from "node:fs";
import { join } from "node:path";
import { openData } from "../data/open.node.ts";
import { randomInputs } from "../data/random-inputs.ts";
import { sample } from "../data/subset.ts";
import { openOnnx } from "../formats/onnx/external.node.ts";
import { modelFrom } from "../models/model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import type { Job } from "../tensor/progress.ts";
import { type CoursePlan, courses, redrawn, untrained } from "./courses.ts";
import { type LanguagePlace, openLanguage } from "./language.node.ts";
import type { LanguageTestbed } from "./language-testbeds.ts";
import { cifarForm, openPictures } from "./pictures.node.ts";
import { schooled } from "./school.node.ts";
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
const dataFolder = process.env["ESPALIER_DATA"] ?? join(root, "../shared/data");
const cacheFolder = process.env["ESPALIER_CACHE"] ?? join(root, "node_modules/.cache/espalier");

const cifar = (model: string): Place => ({
  folder: dataFolder,
  model,
  pool: "cifar10/train-10k.bin",
  test: "cifar10/test.bin",
  noise: "normal",
  preparation: cifarForm,
  hint: `Set ESPALIER_DATA to a folder with ${model}, cifar10/train-10k.bin and cifar10/test.bin.`,
});

/** Models that lie in files. */
const places: ReadonlyMap<string, Place> = new Map([
  ["cifar-resnet20", cifar("models/resnet20-cifar10.onnx")],
  ["cifar-resnet56", cifar("models/resnet56-cifar10.onnx")],
  [
    "glyphs",
    {
      folder: join(root, "examples/glyphs"),
      model: "glyphs.onnx",
      pool: "calibration.npy",
      test: "test.npz",
      noise: "uniform",
      preparation: { scale: 1 / 255 },
      hint: "It comes with the repository, not with the installed package.",
    },
  ],
] satisfies readonly (readonly [string, Place])[]);

const tinylm = (domain: LanguagePlace["domain"], general: LanguagePlace["domain"] = "wikitext"): LanguagePlace => ({
  checkpoint: join(root, "examples/tinylm"),
  data: dataFolder,
  domain,
  general,
  pool: ["pool"],
  window: 256,
  hint: "bench/tinylm.ts trains it from the texts in ESPALIER_DATA; its checkpoint belongs into examples/tinylm.",
});

/** Language models that lie in files. */
const languages: ReadonlyMap<string, LanguagePlace> = new Map(
  Object.entries({
    stories260k: {
      checkpoint: join(dataFolder, "models/stories260K"),
      data: dataFolder,
      domain: "stories",
      general: "drama",
      pool: ["train", "held", "pool"],
      remark: " (sampled from the dense model itself)",
      window: 256,
      hint: "Set ESPALIER_DATA to a folder with models/stories260K and text.",
    },
    "tinylm-wikitext": tinylm("wikitext"),
    "tinylm-linux": tinylm("linux"),
    "tinylm-drama": tinylm("drama"),
  } satisfies Readonly<Record<LanguageTestbed, LanguagePlace>>),
);

/** Names of the testbeds: first those whose models lie in files, then those that are trained on demand. */
export const testbedIds: readonly string[] = [...places.keys(), ...languages.keys(), ...courses.keys()];

export interface OpenTestbedOptions extends Job {
  /** Of its test set, the same ones each time; 2,000 unless told. */
  readonly samples?: number;
  /** Trains the model where it has to be; without it such a testbed is absent. */
  readonly runtime?: Runtime;
}

/** Opens a testbed. Throws `request` for an unknown name. */
export async function openTestbed(id: string, options: OpenTestbedOptions = {}): Promise<Testbed | Absent> {
  const place = places.get(id);
  if (place !== undefined) return openPlace(id, place, options);
  const language = languages.get(id);
  if (language !== undefined) return openLanguage(id, language, options.samples ?? 2000);
  const course = courses.get(id);
  if (course !== undefined) return openCourse(id, course, options);
  const hint = didYouMean(id, testbedIds);
  throw new EspalierError("request", `testbed ${id}`, `expected one of ${testbedIds.join(", ")}.`, hint);
}

async function openPlace(id: string, place: Place, { samples = 2000 }: OpenTestbedOptions): Promise<Testbed | Absent> {
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

async function openCourse(id: string, plan: CoursePlan, options: OpenTestbedOptions): Promise<Testbed | Absent> {
  const { samples = 2000, runtime } = options;
  if (runtime === undefined) {
    return { id, absent: `${id} needs a model that is not here. Give a runtime, with which it is trained.` };
  }
  const pictures = await openPictures(plan.pictures, dataFolder);
  if (typeof pictures === "string") return { id, absent: `${id} needs files that are not here. ${pictures}` };
  const { train, pool, noise } = pictures;
  const test = sample(pictures.test, Math.min(samples, pictures.test.count), 1);
  const model = await schooled(id, plan, train, { ...options, runtime, cache: cacheFolder });
  const { inputs } = model.onnx.graph;
  const { lessons, blueprint } = plan;
  return {
    id,
    description: `${id}, trained for ${lessons.epochs} epochs on ${train.count} pictures, ${test.count} of ${pictures.test.count} to test, calibration from ${pool.count} others`,
    model,
    pool,
    test,
    noise: (count, seed) => randomInputs(inputs, { count, seed, distribution: noise }),
    course: {
      train,
      lessons,
      more: [...(blueprint.normal?.keys() ?? [])],
      untrained: (run, seed) => untrained(blueprint, run, seed),
      redrawn: (graph, run, seed) => redrawn(blueprint, graph, run, seed),
    },
  };
}
