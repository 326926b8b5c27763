import { type Kept, keptThrough } from "../../formats/checkpoint/kept.ts";
import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { EspalierError } from "../../tensor/error.ts";
import { takeAlong } from "../../tensor/slice.ts";
import { load, type TensorRef } from "../../tensor/tensor.ts";
import { tokenIdsIn } from "../tokens/ids-in-config.ts";
import { isOfTokens } from "../tokens/token-files.ts";
import { withTensors } from "./change.ts";
import type { CheckpointModel, Stage } from "./checkpoint-model.ts";

/** The field that counts tokens, whose rows have their numbers in the tokenizer and in configs too. */
export const tokenField = "vocab_size";

/**
 * The checkpoint with only some entries of what a field of its config counts, in the order given, so that entry i is what
 * `kept[i]` was, as its `kept` says. Tensors are sliced when they are loaded. Throws `request`, also for the tokens of a
 * checkpoint that has a tokenizer or names tokens, which `keepTokens` takes along.
 */
export function keepEntries(model: CheckpointModel, field: string, kept: readonly number[]): Checkpoint {
  const { checkpoint, name } = model;
  const file = field === tokenField ? [...checkpoint.files.keys()].find(isOfTokens) : undefined;
  const [named] = field === tokenField ? tokenIdsIn(checkpoint.config).values() : [];
  if (file === undefined && named === undefined) return sliceEntries(model, field, kept);
  const message = `expected a checkpoint that numbers its tokens nowhere else, got ${file ?? `${named} in config.json`}.`;
  throw new EspalierError("request", `${name}: ${field}`, message, "Take them along with keepTokens.");
}

/** The same of tensors and the field alone, whatever else of the checkpoint numbers the entries. */
export function sliceEntries(model: CheckpointModel, field: string, kept: readonly number[]): Checkpoint {
  const sliced = new Map(model.stages.flatMap((stage) => [...fewer(model, stage, field, kept)]));
  if (sliced.size > 0) {
    if (field === tokenField) for (const one of besideStages(model, kept)) sliced.set(...one);
    const smaller = withTensors(model, refsOf(sliced));
    const tensors = new Map([...smaller.tensors].map(([name, ref]) => [name, sliced.get(name)?.ref ?? ref]));
    const left = { positions: positionsOf(sliced), entries: new Map([[field, kept]]) };
    return withKept(model, { ...smaller, tensors }, left);
  }
  throw new EspalierError("request", model.name, `expected a field that parameters have entries for, got "${field}".`);
}

/**
 * Tensors that no stage reads and that have a row for each token, such as the head of a task. Throws `request` for one that
 * has as many rows by another name.
 */
function* besideStages(
  { name, checkpoint, outline, parameters }: CheckpointModel,
  kept: readonly number[],
): Generator<readonly [string, Sliced]> {
  for (const [tensor, ref] of checkpoint.tensors) {
    if (parameters.has(tensor) || outline.tied.has(tensor) || ref.shape[0] !== outline.vocabulary) continue;
    if (outline.tokenRows?.includes(tensor) === true) yield [tensor, slicedOf(ref, 0, kept)];
    else {
      const message = `expected only tensors of the model with ${outline.vocabulary} rows, got one that it does not read.`;
      throw new EspalierError(
        "request",
        `${name}: ${tensor}`,
        message,
        "It may have a row for each token: leave it out.",
      );
    }
  }
}

/**
 * The checkpoint with only some experts in blocks, in the order given, and with what the router says of these. Blocks that
 * are not named keep all of theirs. Throws `request` for blocks without experts and experts that are not there.
 */
export function keepExperts(model: CheckpointModel, kept: ReadonlyMap<number, readonly number[]>): Checkpoint {
  const changed = new Map<string, Sliced>();
  const moved = new Map<string, string | undefined>();
  for (const [block, experts] of kept) {
    const stage = model.stages.find((one) => one.block === block);
    const described = model.outline.blocks[block]?.experts;
    if (stage === undefined || described === undefined) {
      throw new EspalierError("request", model.name, `expected a block with experts, got block ${block}.`);
    }
    for (const [name, sliced] of fewer(model, stage, described.field, experts)) changed.set(name, sliced);
    const places = new Map(experts.map((expert, i) => [expert, i]));
    for (const name of model.checkpoint.tensors.keys()) {
      if (!name.startsWith(`${described.path}.`)) continue;
      const [number = "", ...rest] = name.slice(described.path.length + 1).split(".");
      const place = places.get(Number(number));
      moved.set(name, place === undefined ? undefined : [described.path, place, ...rest].join("."));
    }
  }
  const smaller = withTensors(model, refsOf(changed));
  const names = new Map<string, string>();
  const tensors = new Map<string, TensorRef>();
  const shardOf = new Map<string, string>();
  for (const [name, ref] of smaller.tensors) {
    const to = moved.has(name) ? moved.get(name) : name;
    if (to === undefined) continue;
    if (to !== name) names.set(to, name);
    tensors.set(to, ref);
    shardOf.set(to, smaller.shardOf.get(name) ?? "");
  }
  const left = { names, positions: positionsOf(changed), experts: kept };
  return withKept(model, { ...smaller, tensors, shardOf }, left);
}

/** A tensor with only some positions of an axis. */
interface Sliced {
  readonly ref: TensorRef;
  readonly axis: number;
  readonly kept: readonly number[];
}

function refsOf(sliced: ReadonlyMap<string, Sliced>): ReadonlyMap<string, TensorRef> {
  return new Map([...sliced].map(([name, { ref }]) => [name, ref]));
}

function positionsOf(sliced: ReadonlyMap<string, Sliced>): Kept["positions"] {
  return new Map(
    [...sliced].map(([name, { ref, axis, kept }]) => [name, ref.shape.map((_, i) => (i === axis ? kept : null))]),
  );
}

/** The checkpoint with what is left of a model's original after this and what was done before. */
function withKept({ checkpoint }: CheckpointModel, smaller: Checkpoint, left: Partial<Kept>): Checkpoint {
  const own: Kept = { of: checkpoint.name, names: new Map(), positions: new Map(), ...left };
  return { ...smaller, kept: keptThrough(checkpoint.kept, own, smaller.tensors.keys()) };
}

/** The parameters of a stage with an axis for what a field counts, with only some positions of it. */
function fewer(
  { name, checkpoint }: CheckpointModel,
  stage: Stage,
  field: string,
  kept: readonly number[],
): ReadonlyMap<string, Sliced> {
  const found = new Map<string, Sliced>();
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
    found.set(parameter, slicedOf(from, axis, kept));
  }
  return found;
}

function slicedOf(from: TensorRef, axis: number, kept: readonly number[]): Sliced {
  const by = async (): Promise<Uint8Array> => takeAlong(await load(from), axis, Int32Array.from(kept)).bytes;
  const shape = from.shape.map((n, i) => (i === axis ? kept.length : n));
  return { ref: { dtype: from.dtype, shape, made: { from, by } }, axis, kept };
}

function checkKept(where: string, kept: readonly number[], count: number): void {
  const valid = kept.every((index) => Number.isInteger(index) && index >= 0 && index < count);
  if (kept.length > 0 && valid && new Set(kept).size === kept.length) return;
  const list = `${kept.slice(0, 5).join(", ")}${kept.length > 5 ? ", .." : ""}`;
  throw new EspalierError("request", where, `expected distinct numbers from 0 to ${count - 1}, got [${list}].`);
}
