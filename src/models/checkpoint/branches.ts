import type { Json } from "../../formats/checkpoint/json.ts";
import { keptThrough } from "../../formats/checkpoint/kept.ts";
import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { bytesOf, type TensorRef } from "../../tensor/tensor.ts";
import type { CheckpointModel } from "./checkpoint-model.ts";
import type { BlockBranch } from "./site.ts";

/** Branches of blocks that go, by the numbers of these. */
export type GoneBranches = ReadonlyMap<number, readonly BlockBranch[]>;

/** The field of a config that says what differs from block to block. */
const perBlock = "per_layer_config";

/**
 * The checkpoint without some attentions or MLPs: their tensors are gone, and the config says that their blocks have none, as espalier
 * reads it: `per_layer_config: { "3": { intermediate_size: 0 } }`.
 */
export function dropBlockBranches(model: CheckpointModel, gone: GoneBranches): Checkpoint {
  const { checkpoint, outline } = model;
  const held = new Set([...gone.values()].flat().flatMap(({ holds }) => holds));
  const tensors = new Map([...checkpoint.tensors].filter(([name]) => !held.has(name)));
  const own = new Map(entriesOf(checkpoint.config[perBlock]));
  for (const [block, branches] of gone) {
    const none: Json = Object.fromEntries(
      branches.flatMap(({ fields }) => fields.filter((field) => field in checkpoint.config)).map((field) => [field, 0]),
    );
    own.set(String(block), { ...Object.fromEntries(entriesOf(own.get(String(block)))), ...none });
  }
  const left = { of: checkpoint.name, names: new Map(), positions: new Map() };
  return {
    ...checkpoint,
    config: { ...checkpoint.config, ...outline.explicit, [perBlock]: Object.fromEntries(own) },
    ...{ tensors, kept: keptThrough(checkpoint.kept, left, tensors.keys()) },
  };
}

/** The checkpoint with zeros in the last matrices of some attentions or MLPs, which then add nothing: sizes stay. */
export function silenceBlockBranches({ checkpoint }: CheckpointModel, gone: GoneBranches): Checkpoint {
  const tensors = new Map(checkpoint.tensors);
  for (const name of [...gone.values()].flat().flatMap(({ last }) => last)) {
    const ref = tensors.get(name);
    if (ref !== undefined) tensors.set(name, zerosLike(ref));
  }
  return { ...checkpoint, tensors };
}

function zerosLike(from: TensorRef): TensorRef {
  return { dtype: from.dtype, shape: from.shape, made: { from, by: async () => new Uint8Array(bytesOf(from)) } };
}

/** The fields of which single blocks have none. */
export function missingFields({ checkpoint }: CheckpointModel): readonly (readonly [block: number, field: string])[] {
  return entriesOf(checkpoint.config[perBlock]).flatMap(([block, values]) =>
    entriesOf(values).flatMap(([field, value]) => (value === 0 ? [[Number(block), field] as const] : [])),
  );
}

const entriesOf = (value: unknown): [string, unknown][] =>
  typeof value === "object" && value !== null ? Object.entries(value) : [];
