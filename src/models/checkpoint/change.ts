import type { Json } from "../../formats/checkpoint/json.ts";
import { keptThrough } from "../../formats/checkpoint/kept.ts";
import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import type { Graph } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type Shape, sameShape, type TensorRef } from "../../tensor/tensor.ts";
import type { CheckpointModel } from "./checkpoint-model.ts";
import { evenedNorms } from "./evened-norms.ts";
import { resized, resizedConfig } from "./resize.ts";
import { storedParameters } from "./stored.ts";

/** The checkpoint of a model's whole graph that was changed: pruned, sparse or trained. Throws like `withTensors`. */
export function withGraph(model: CheckpointModel, changed: Graph): Checkpoint {
  return withTensors(model, storedParameters(model.graph().graph, changed, model.parameters.keys()));
}

/**
 * The checkpoint with other parameters, by their names, and a config that says their sizes; what `tensors` does not name
 * stays. Throws `request` where no config can say these sizes.
 */
export function withTensors(model: CheckpointModel, tensors: ReadonlyMap<string, TensorRef>): Checkpoint {
  const { checkpoint, parameters, outline } = model;
  const shapes = new Map<string, Shape>();
  for (const [name, { shape }] of tensors) if (parameters.has(name)) shapes.set(name, shape);
  const change = resized(model, shapes);
  const [problem] = change.problems;
  if (problem !== undefined) {
    const hint = "Leave that group out with --ignore, or write ONNX, which holds any sizes.";
    throw new EspalierError("request", model.name, `expected sizes that config.json can state, but ${problem}.`, hint);
  }
  const evened = evenedNorms(model, tensors, change.fields);
  const kept = new Map<string, TensorRef>();
  for (const [name, ref] of checkpoint.tensors) {
    // A copy of what a tied parameter was before is stale.
    const other = outline.tied.get(name);
    if (other === undefined || !tensors.has(other))
      kept.set(name, evened.get(name) ?? (parameters.has(name) ? tensors.get(name) : undefined) ?? ref);
  }
  const { kept: left, ...rest } = checkpoint;
  const isWhole = [...shapes].every(([name, shape]) => sameShape(shape, checkpoint.tensors.get(name)?.shape ?? []));
  // Of tensors that became smaller nothing here tells what is left.
  const same = isWhole && left !== undefined ? { kept: left } : {};
  return { ...rest, config: resizedConfig(model, change), tensors: kept, ...same };
}

/**
 * The checkpoint with only some of its blocks, in their order, and numbered anew. Lists in the config that say something
 * of each block are shortened with them, and `kept` says which they were. Throws `request` for blocks that the model does not have, or none.
 */
export function keepBlocks(model: CheckpointModel, kept: readonly number[]): Checkpoint {
  const { checkpoint, outline } = model;
  const { blocks } = outline;
  const valid = kept.length > 0 && kept.every((block, i) => blocks[block] !== undefined && block > (kept[i - 1] ?? -1));
  if (!valid) {
    const message = `expected some of the blocks 0 to ${blocks.length - 1} in their order, got [${kept.join(", ")}].`;
    throw new EspalierError("request", model.name, message);
  }
  const place = new Map(kept.map((block, i) => [block, i]));
  const renamed = (name: string): string | undefined => {
    const block = blocks.findIndex(({ path }) => name.startsWith(`${path}.`));
    if (block < 0) return name;
    const to = blocks[place.get(block) ?? -1];
    return to === undefined ? undefined : `${to.path}${name.slice(blocks[block]?.path.length)}`;
  };
  const tensors = new Map<string, TensorRef>();
  const shardOf = new Map<string, string>();
  const names = new Map<string, string>();
  for (const [name, ref] of checkpoint.tensors) {
    const to = renamed(name);
    if (to === undefined) continue;
    if (to !== name) names.set(to, name);
    tensors.set(to, ref);
    shardOf.set(to, checkpoint.shardOf.get(name) ?? "");
  }
  const config: Record<string, unknown> = {};
  for (const [field, value] of Object.entries({ ...checkpoint.config, ...outline.explicit })) {
    config[field] = fewer(field, value, kept, blocks.length);
  }
  const own = { of: checkpoint.name, names, positions: new Map(), blocks: kept };
  return {
    ...checkpoint,
    config: { ...config, ...outline.renumbered?.(kept), [outline.blockCount]: kept.length },
    ...{ tensors, shardOf, kept: keptThrough(checkpoint.kept, own, tensors.keys()) },
  };
}

function fewer(field: string, value: unknown, kept: readonly number[], blocks: number): unknown {
  if (Array.isArray(value) && value.length === blocks && /layer|block/.test(field))
    return kept.map((block) => value[block]);
  if (field !== "per_layer_config" || typeof value !== "object" || value === null) return value;
  const own = new Map(Object.entries(value));
  const moved: Json = Object.fromEntries(
    kept.flatMap((block, i) => (own.has(String(block)) ? [[String(i), own.get(String(block))]] : [])),
  );
  return moved;
}
