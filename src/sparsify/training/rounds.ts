import { exponential } from "../../schedule/sparsity-schedule.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats, toFloat32 } from "../../tensor/numeric.ts";
import { type HostTensor, type Shape, sizeOf } from "../../tensor/tensor.ts";
import { slotName } from "../../train/step.ts";
import type { RunSnapshot } from "../../train/train.ts";
import { type MaskedLayer, type PruneScope, prunedMasks, zeroed } from "./mask-moves.ts";

/** Where a round starts again. */
export interface Rewind {
  /** Parameters of this update of the first run; null: those that the round before ended with. */
  readonly weights: number | null;
  /** The update at which schedule and data order go on. */
  readonly schedule: number;
}

/** The usual ways to start a round again. */
export const rewinds = {
  /** To the first parameters (Frankle and Carbin 2019). */
  init: { weights: 0, schedule: 0 },
  /** To an early update, the schedule too (Frankle et al. 2019). */
  to: (update: number): Rewind => ({ weights: update, schedule: update }),
  /** Weights stay, the schedule starts again (Renda et al. 2020). */
  rate: { weights: null, schedule: 0 },
  /** Weights stay and the rest of the schedule, from an update on, is run again. */
  tune: (from: number): Rewind => ({ weights: null, schedule: from }),
} as const;

export interface RoundsOptions {
  /** Goes on with training: from a snapshot, or from the start, up to an update or to the end. */
  readonly run: (from: RunSnapshot | null, until: number | null) => Promise<RunSnapshot>;
  /** What is masked; the steps of `run` have masks of ones for all of them. */
  readonly parameters: ReadonlyMap<string, Shape>;
  /** What is alive (1) before the first round; everything unless told. */
  readonly masks?: ReadonlyMap<string, Uint8Array>;
  /** Sparsity after the last round, reached by removing the same share of the survivors in each. */
  readonly sparsity: number;
  readonly rounds: number;
  readonly scope: PruneScope;
  readonly rewind: Rewind;
  /** Goes on behind these rounds, which the same options gave. */
  readonly begun?: Begun;
  /** Looks at the rounds so far after each; round 0 is the dense run. */
  readonly afterRound?: (begun: Begun) => void;
  /** Changes what a round starts from, before masks are applied, and the masks: a fresh draw, other places. */
  readonly restart?: (start: RoundStart, round: number) => Promise<RoundStart>;
}

/** What a round starts from: a state of all weights, and masks. */
export interface RoundStart {
  readonly from: RunSnapshot;
  readonly masks: ReadonlyMap<string, Uint8Array>;
}

/** Rounds that are done: where later ones start again, and the end of the last. */
export interface Begun {
  readonly early: RunSnapshot | null;
  readonly last: Round;
}

/** The end of one round. */
export interface Round {
  readonly round: number;
  readonly sparsity: number;
  readonly masks: ReadonlyMap<string, Uint8Array>;
  readonly end: RunSnapshot;
}

/** Rounds that lead to a sparsity when each removes a share of the survivors. */
export function roundsAt(sparsity: number, rate: number): number {
  return Math.max(1, Math.round(Math.log(1 - sparsity) / Math.log(1 - rate)));
}

/**
 * Trains, prunes the smallest survivors, goes back, and trains again, as often as asked. What the optimiser remembers starts from
 * zero in each round; running statistics go back with the weights. Gives the end of the last round.
 */
export async function rounds(options: RoundsOptions): Promise<Round> {
  const { run, parameters, sparsity, rounds: count, scope, rewind } = options;
  if (count < 1) throw new EspalierError("request", "rounds", `expected at least one round, got ${count}.`);
  const early = options.begun?.early ?? (rewind.weights === null ? null : await run(null, rewind.weights));
  const shapes = [...parameters].map(([name, shape]) => ({ name, shape }));
  const whole: ReadonlyMap<string, Uint8Array> = new Map(
    shapes.map(({ name, shape }) => [name, options.masks?.get(name) ?? new Uint8Array(sizeOf(shape)).fill(1)]),
  );
  const initial = deadShare(whole);
  let last = options.begun?.last;
  if (last === undefined) {
    last = { round: 0, sparsity: initial, masks: whole, end: await run(early, null) };
    options.afterRound?.({ early, last });
  }
  let { masks } = last;
  for (let round = last.round + 1; round <= count; round++) {
    const { tensors } = last.end;
    const layers = shapes.map(({ name, shape }): MaskedLayer => {
      const [weights, mask] = [tensors.get(name), masks.get(name)];
      if (weights === undefined || mask === undefined) throw notTrained(name);
      return { name, shape, weights: toFloat32(weights), mask };
    });
    const target = exponential(round / count, sparsity, initial);
    const plain: RoundStart = {
      from: { ...(early ?? last.end), updates: rewind.schedule },
      masks: prunedMasks(layers, target, scope),
    };
    const start = (await options.restart?.(plain, round)) ?? plain;
    masks = start.masks;
    const end = await run(maskedStart(start.from, masks, parameters), null);
    last = { round, sparsity: target, masks, end };
    options.afterRound?.({ early, last });
  }
  return last;
}

function deadShare(masks: ReadonlyMap<string, Uint8Array>): number {
  let [dead, all] = [0, 0];
  for (const mask of masks.values()) {
    for (let i = 0; i < mask.length; i++) dead += 1 - (mask[i] ?? 0);
    all += mask.length;
  }
  return all === 0 ? 0 : dead / all;
}

/** A snapshot under masks: parameters are zero where these are, moments of all parameters are zero everywhere. */
function maskedStart(
  snapshot: RunSnapshot,
  masks: ReadonlyMap<string, Uint8Array>,
  parameters: ReadonlyMap<string, Shape>,
): RunSnapshot {
  const tensors = new Map<string, HostTensor>();
  for (const [name, tensor] of snapshot.tensors) {
    const mask = masks.get(name);
    const owner = name.slice(name.indexOf(":") + 1);
    if (mask !== undefined) {
      tensors.set(name, fromFloats("f32", tensor.shape, zeroed(toFloat32(tensor), mask)));
    } else if (name !== owner && snapshot.tensors.has(owner)) {
      tensors.set(name, { ...tensor, bytes: new Uint8Array(tensor.bytes.length) });
    } else tensors.set(name, tensor);
  }
  for (const [name, mask] of masks) {
    tensors.set(slotName("mask", name), fromFloats("f32", parameters.get(name) ?? [], Float32Array.from(mask)));
  }
  return { ...snapshot, tensors };
}

function notTrained(name: string): EspalierError {
  return new EspalierError("request", `parameter "${name}"`, "expected a parameter that is trained, got another.");
}
