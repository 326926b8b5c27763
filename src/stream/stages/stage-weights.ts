import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { fedTensor } from "../../models/checkpoint/lift.ts";
import type { State } from "../../runtime/runtime.ts";
import { bytesOf, type HostTensor, load, type TensorRef } from "../../tensor/tensor.ts";
import type { Account, GiveBack } from "../memory/account.ts";
import type { Room } from "../memory/room.ts";
import { ahead } from "./ahead.ts";
import { checkWeights } from "./check-weights.ts";
import type { PlacedStage } from "./stage-kinds.ts";

/** The parameters of a stage in memory, by their names in the checkpoint. */
export type StageWeights = ReadonlyMap<string, HostTensor>;

/**
 * Reads the parameters of a stage; `changed` are those that stand in place of the checkpoint's. Throws `data` that names
 * the parameter and the place of a NaN or an infinity, which would spoil every stage behind it.
 */
export async function loadWeights(
  model: CheckpointModel,
  { tensors }: PlacedStage,
  changed: ReadonlyMap<string, TensorRef> = new Map(),
): Promise<StageWeights> {
  const loaded = new Map<string, HostTensor>();
  for (const name of tensors) {
    const ref = changed.get(name) ?? model.checkpoint.tensors.get(name);
    if (ref === undefined) continue;
    const tensor = await load(ref);
    checkWeights(`${model.name}: ${name}`, tensor);
    loaded.set(name, tensor);
  }
  return loaded;
}

/** Parameters of a stage in memory, counted until they are given back. */
export interface CountedWeights {
  readonly weights: StageWeights;
  readonly back: GiveBack;
}

/** Nothing to read. */
export const noWeights: CountedWeights = { weights: new Map(), back: () => undefined };

/** The same on an account. */
export async function loadCounted(
  account: Account,
  ...[model, placed, changed]: Parameters<typeof loadWeights>
): Promise<CountedWeights> {
  const refs = placed.tensors.flatMap((name) => changed?.get(name) ?? model.checkpoint.tensors.get(name) ?? []);
  const back = account.take(
    `the weights of ${placed.stage.name}`,
    refs.reduce((sum, ref) => sum + bytesOf(ref), 0),
  );
  return { weights: await loadWeights(model, placed, changed), back };
}

/** Gives the weights of stages in turn; those of the next are read ahead where there is room for both. */
export function weightsAhead(
  model: CheckpointModel,
  placed: readonly PlacedStage[],
  room: Pick<Room, "account" | "ahead">,
): (index: number) => Promise<CountedWeights> {
  const make = async (index: number): Promise<CountedWeights> => {
    const stage = placed[index];
    return stage === undefined ? noWeights : loadCounted(room.account, model, stage);
  };
  return ahead(placed.length, make, room.ahead);
}

/** Puts parameters of a stage beside the runtime, under the names that sessions of its kind read. */
export function feedWeights(state: State, { kind, tensors }: PlacedStage, weights: StageWeights): Promise<void> {
  const fed = new Map<string, HostTensor>();
  for (const [i, name] of kind.tensors.entries()) {
    const tensor = weights.get(tensors[i] ?? "");
    if (tensor !== undefined) fed.set(name, fedTensor(tensor));
  }
  return state.set(fed);
}
