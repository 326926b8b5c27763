import type { Feeds } from "../../graph/graph.ts";
import type { SparsitySchedule } from "../../schedule/sparsity-schedule.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type HostTensor, type Shape, sizeOf } from "../../tensor/tensor.ts";
import { gradientProbe, type StepDefinition, slotName } from "../../train/step.ts";
import type { TrainPoint } from "../../train/train.ts";
import type { Trainer } from "../../train/trainer.ts";
import {
  type MaskedLayer,
  type Profile,
  type PruneScope,
  prunedMasks,
  randomMasks,
  regrownMask,
  zeroed,
} from "./mask-moves.ts";

/** How masks move while a network learns. Points of the run are shares of its updates, 0 to 1. */
export interface SparsityProgramme {
  /** Sparsity of all weights together before the first update, at random places; 0: everything is there. */
  readonly start?: { readonly sparsity: number; readonly profile: Profile };
  /** Removes the smallest magnitudes for good, up to a sparsity. */
  readonly ramp?: {
    readonly final: number;
    readonly schedule: SparsitySchedule;
    readonly from: number;
    readonly until: number;
    readonly scope: PruneScope;
  };
  /** Exchanges a share of what is alive in each layer, at an unchanged density. */
  readonly regrow?: {
    /** Share of the alive weights at a point of the run. */
    readonly share: (point: number) => number;
    readonly by: "gradient" | "random";
    readonly until: number;
  };
  /** Changes in a whole run, evenly spread; each phase ends with one, however short it is. */
  readonly changes: number;
}

/** Densities after one change. */
export interface SparsityPoint {
  readonly update: number;
  /** Share of all weights that are dead. */
  readonly sparsity: number;
  readonly layers: ReadonlyMap<string, number>;
  /** Weights that came to life. */
  readonly grown: number;
}

/** A programme tied to the parameters of one training run. */
export interface DynamicSparsity {
  /** Masks before the first update. */
  readonly masks: ReadonlyMap<string, HostTensor>;
  /** Moves masks where the programme says so; for `afterUpdate` of a run. Masks and moments are in the trainer's state. */
  afterUpdate(trainer: Trainer, point: TrainPoint, feeds: Feeds): Promise<void>;
  /** What happened so far. */
  readonly journal: readonly SparsityPoint[];
}

export interface DynamicSparsityOptions {
  readonly seed: number;
  /** Updates of the whole run. */
  readonly updates: number;
  /** What is dead before the first update, in the place of the programme's start; parameters without a mask are whole. */
  readonly masks?: ReadonlyMap<string, HostTensor>;
}

/**
 * Follows a programme over parameters of a step: gradual magnitude pruning (a ramp alone), SET and RigL (regrowth alone, by chance or by gradient), GraNet
 * (both). What is dropped is zero at once, with what the optimiser remembers of it; what grows starts from zero, unless it was dropped in
 * the same change. Growth by gradient looks at the last batch after its update. Resumes exactly: everything is in the trainer's state
 * or follows from seed and update.
 */
export function dynamicSparsity(
  definition: StepDefinition,
  parameters: ReadonlyMap<string, Shape>,
  programme: SparsityProgramme,
  { seed, updates, masks: given }: DynamicSparsityOptions,
): DynamicSparsity {
  const { start, ramp, regrow, changes } = programme;
  if (parameters.size === 0) {
    throw new EspalierError("request", "dynamic sparsity", "expected at least one parameter to mask, got none.");
  }
  const shapes = [...parameters].map(([name, shape]) => ({ name, shape }));
  const first =
    start === undefined || given !== undefined
      ? new Map(shapes.map(({ name, shape }) => [name, bitsOf(given?.get(name), sizeOf(shape))]))
      : randomMasks(shapes, start.sparsity, start.profile, random(seed, "masks"));
  const initial = given === undefined ? (start?.sparsity ?? 0) : sparsityOf(first.values());
  const masks = new Map(shapes.map(({ name, shape }) => [name, maskTensor(shape, first.get(name))]));
  const probe = regrow?.by === "gradient" ? gradientProbe({ ...definition, masks }, [...parameters.keys()]) : null;
  const every = Math.max(1, Math.floor(updates / changes));
  const ends = new Set([ramp?.until, regrow?.until].map((at) => (at === undefined ? -1 : Math.floor(at * updates))));
  const slots = [...new Set(definition.groups.flatMap(({ optimiser }) => optimiser.slots))];
  const journal: SparsityPoint[] = [];
  return {
    masks,
    journal,
    afterUpdate: async (trainer, { update }, feeds) => {
      if (update % every !== 0 && !ends.has(update)) return;
      const at = update / updates;
      const ramping = ramp !== undefined && at >= ramp.from && at <= ramp.until + every / updates;
      const regrowing = regrow !== undefined && at < regrow.until;
      if (!ramping && !regrowing) return;
      const names = [...parameters.keys()];
      const held = await trainer.get(names.flatMap((name) => [name, slotName("mask", name)]));
      let layers = shapes.map(({ name, shape }): MaskedLayer => {
        const [weights, mask] = [held.get(name), held.get(slotName("mask", name))];
        if (weights === undefined || mask === undefined) throw unknownMask(name);
        return { name, shape, weights: toFloat32(weights), mask: Uint8Array.from(toFloat32(mask)) };
      });
      const before = layers;
      if (ramping) {
        const point = (at - ramp.from) / Math.max(ramp.until - ramp.from, Number.EPSILON);
        const next = prunedMasks(layers, ramp.schedule(point, ramp.final, initial), ramp.scope);
        layers = layers.map((layer) => withMask(layer, next.get(layer.name)));
      }
      if (regrowing) {
        const share = regrow.share(at);
        // The gradient is asked for at the masks that growth starts from.
        if (ramping) await trainer.set(maskTensors(layers));
        const growth = probe === null ? null : await trainer.probe(probe, feeds);
        layers = layers.map((layer) => {
          const scores = growth?.get(layer.name);
          const by = scores === undefined ? random(seed, "grow", layer.name, update) : toFloat32(scores);
          return withMask(layer, regrownMask(layer, share, by));
        });
      }
      await trainer.set(await cleared(trainer, layers, held, slots));
      journal.push(pointOf(update, before, layers));
    },
  };
}

function withMask(layer: MaskedLayer, mask: Uint8Array | undefined): MaskedLayer {
  return mask === undefined ? layer : { ...layer, mask };
}

function maskTensors(layers: readonly MaskedLayer[]): ReadonlyMap<string, HostTensor> {
  return new Map(layers.map(({ name, shape, mask }) => [slotName("mask", name), maskTensor(shape, mask)]));
}

/** New masks, and parameters and moments that are zero where these are. */
async function cleared(
  trainer: Trainer,
  layers: readonly MaskedLayer[],
  held: ReadonlyMap<string, HostTensor>,
  slots: readonly string[],
): Promise<ReadonlyMap<string, HostTensor>> {
  const moments = await trainer.get(layers.flatMap(({ name }) => slots.map((kind) => slotName(kind, name))));
  const changed = new Map(maskTensors(layers));
  for (const { name, mask } of layers) {
    for (const key of [name, ...slots.map((kind) => slotName(kind, name))]) {
      const tensor = held.get(key) ?? moments.get(key);
      if (tensor === undefined) continue;
      changed.set(key, fromFloats("f32", tensor.shape, zeroed(toFloat32(tensor), mask)));
    }
  }
  return changed;
}

function pointOf(update: number, before: readonly MaskedLayer[], after: readonly MaskedLayer[]): SparsityPoint {
  let [alive, all, grown] = [0, 0, 0];
  const layers = new Map<string, number>();
  for (const [l, { name, mask }] of after.entries()) {
    const old = before[l]?.mask ?? mask;
    let own = 0;
    for (let i = 0; i < mask.length; i++) {
      own += mask[i] ?? 0;
      if (mask[i] === 1 && old[i] === 0) grown++;
    }
    layers.set(name, own / mask.length);
    alive += own;
    all += mask.length;
  }
  return { update, sparsity: 1 - alive / all, layers, grown };
}

function maskTensor(shape: Shape, mask: Uint8Array | undefined): HostTensor {
  return fromFloats("f32", shape, Float32Array.from(mask ?? []));
}

/** A mask as bytes; all alive where there is none. */
function bitsOf(mask: HostTensor | undefined, size: number): Uint8Array {
  return mask === undefined ? new Uint8Array(size).fill(1) : Uint8Array.from(toFloat32(mask));
}

/** The share that is dead of all masks together. */
function sparsityOf(masks: Iterable<Uint8Array>): number {
  let [alive, all] = [0, 0];
  for (const mask of masks) {
    for (let i = 0; i < mask.length; i++) alive += mask[i] ?? 0;
    all += mask.length;
  }
  return 1 - alive / all;
}

function unknownMask(name: string): EspalierError {
  const message = "expected a parameter of the training with a mask, got another.";
  return new EspalierError(
    "request",
    `parameter "${name}"`,
    message,
    "Build the steps with the masks of the programme.",
  );
}
