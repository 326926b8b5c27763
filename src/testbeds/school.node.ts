import { createHash } from "node:crypto";
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { IndexedDataset } from "../data/dataset.ts";
import { openOnnx } from "../formats/onnx/external.node.ts";
import type { OnnxModel } from "../formats/onnx/model.ts";
import { saveOnnx } from "../formats/onnx/save.node.ts";
import type { Graph } from "../graph/graph.ts";
import { type Model, modelFrom } from "../models/model.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Job } from "../tensor/progress.ts";
import { load } from "../tensor/tensor.ts";
import { type CoursePlan, untrained } from "./courses.ts";
import { learn } from "./learn.ts";

export interface SchoolOptions extends Job {
  readonly runtime: Runtime;
  /** Folder in which trained models are kept. */
  readonly cache: string;
  readonly seed?: number;
}

/**
 * The model of a course, trained: from the cache where the same course was followed before, else trained now and put
 * there. The file's name holds a hash of all that decides the result: first parameters, lessons, data, seed.
 */
export async function schooled(
  id: string,
  plan: CoursePlan,
  train: IndexedDataset,
  options: SchoolOptions,
): Promise<Model> {
  const { runtime, cache, seed = 0 } = options;
  const { blueprint, lessons } = plan;
  const first = await untrained(blueprint, runtime, seed);
  const path = join(cache, `${id}-${await courseHash(first, plan, train, seed)}.onnx`);
  if (!existsSync(path)) {
    const more = [...(blueprint.normal?.keys() ?? [])];
    const { graph } = await learn(first, train, lessons, { ...options, runtime, seed, more });
    mkdirSync(cache, { recursive: true });
    await saveOnnx(onnxOf(graph), path);
  }
  return modelFrom(`${id}.onnx`, await openOnnx(path));
}

/** A graph as a model of its own. */
function onnxOf(graph: Graph): OnnxModel {
  const blank = { producerName: "espalier", producerVersion: "", domain: "", modelVersion: 0n, doc: "" };
  return { ...blank, graph, irVersion: 10, metadata: new Map(), unknown: [] };
}

/** Pictures by which a change of the data is noticed. */
const looked = 16;

async function courseHash(first: Graph, { lessons }: CoursePlan, train: IndexedDataset, seed: number): Promise<string> {
  const hash = createHash("sha256");
  const nodes = first.nodes.map(({ domain, op, inputs, outputs, attributes }) => [
    ...[domain, op, inputs, outputs],
    [...attributes].map(([name, attribute]) => [name, "value" in attribute ? attribute.value : null]),
  ]);
  hash.update(JSON.stringify([lessons, seed, train.description, train.count, nodes]));
  for (const [name, ref] of first.constants) hash.update(name).update((await load(ref)).bytes);
  const { inputs, labels } = await train.gather(Int32Array.from({ length: looked }, (_, i) => i));
  for (const { bytes } of inputs.values()) hash.update(bytes);
  hash.update(JSON.stringify([...(labels ?? [])]));
  return hash.digest("hex").slice(0, 16);
}
