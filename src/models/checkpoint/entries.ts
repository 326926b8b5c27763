import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { EspalierError } from "../../tensor/error.ts";
import { takeAlong } from "../../tensor/slice.ts";
import { load, type TensorRef } from "../../tensor/tensor.ts";
import { withTensors } from "./change.ts";
import type { CheckpointModel, Stage } from "./checkpoint-model.ts";

/**
 * The checkpoint with only some entries of what a field of its config counts, in the order given: tokens of `vocab_size`,
 * say, so that entry i is what `kept[i]` was. Tensors are sliced when they are loaded. Throws `request`.
 */
export function keepEntries(model: CheckpointModel, field: string, kept: readonly number[]): Checkpoint {
  const tensors = new Map(model.stages.flatMap((stage) => [...fewer(model, stage, field, kept)]));
  if (tensors.size > 0) return withTensors(model, tensors);
  throw new EspalierError("request", model.name, `expected a field that parameters have entries for, got "${field}".`);
}

/**
 * The checkpoint with only some experts in blocks, in the order given, and with what the router says of these. Blocks that
 * are not named keep all of theirs. Throws `request` for blocks without experts and experts that are not there.
 */
export function keepExperts(model: CheckpointModel, kept: ReadonlyMap<number, readonly number[]>): Checkpoint {
  const changed = new Map<string, TensorRef>();
  const moved = new Map<string, string | undefined>();
  for (const [block, experts] of kept) {
    const stage = model.stages.find((one) => one.block === block);
    const described = model.outline.blocks[block]?.experts;
    if (stage === undefined || described === undefined) {
      throw new EspalierError("request", model.name, `expected a block with experts, got block ${block}.`);
    }
    for (const [name, ref] of fewer(model, stage, described.field, experts)) changed.set(name, ref);
    const places = new Map(experts.map((expert, i) => [expert, i]));
    for (const name of model.checkpoint.tensors.keys()) {
      if (!name.startsWith(`${described.path}.`)) continue;
      const [number = "", ...rest] = name.slice(described.path.length + 1).split(".");
      const place = places.get(Number(number));
      moved.set(name, place === undefined ? undefined : [described.path, place, ...rest].join("."));
    }
  }
  const smaller = withTensors(model, changed);
  const tensors = new Map<string, TensorRef>();
  const shardOf = new Map<string, string>();
  for (const [name, ref] of smaller.tensors) {
    const to = moved.has(name) ? moved.get(name) : name;
    if (to === undefined) continue;
    tensors.set(to, ref);
    shardOf.set(to, smaller.shardOf.get(name) ?? "");
  }
  return { ...smaller, tensors, shardOf };
}

/** The parameters of a stage with an axis for what a field counts, with only some positions of it. */
function fewer(
  { name, checkpoint }: CheckpointModel,
  stage: Stage,
  field: string,
  kept: readonly number[],
): ReadonlyMap<string, TensorRef> {
  const found = new Map<string, TensorRef>();
  for (const [parameter, sizes] of stage.parameters) {
    const from = checkpoint.tensors.get(parameter);
    const axis = sizes.findIndex(({ terms }) => terms.some((term) => term.field === field));
    const size = sizes[axis];
    if (from === undefined || size === undefined) continue;
    const [term] = size.terms;
    if (size.terms.length > 1 || term?.times !== 1 || term.value !== size.value) {
      throw new EspalierError("request", `${name}: ${parameter}`, `expected one position for each entry of ${field}.`);
    }
    checkKept(`${name}: ${field}`, kept, size.value);
    const by = async (): Promise<Uint8Array> => takeAlong(await load(from), axis, Int32Array.from(kept)).bytes;
    const shape = from.shape.map((n, i) => (i === axis ? kept.length : n));
    found.set(parameter, { dtype: from.dtype, shape, made: { from, by } });
  }
  return found;
}

function checkKept(where: string, kept: readonly number[], count: number): void {
  const valid = kept.every((index) => Number.isInteger(index) && index >= 0 && index < count);
  if (kept.length > 0 && valid && new Set(kept).size === kept.length) return;
  const list = `${kept.slice(0, 5).join(", ")}${kept.length > 5 ? ", .." : ""}`;
  throw new EspalierError("request", where, `expected distinct numbers from 0 to ${count - 1}, got [${list}].`);
}
