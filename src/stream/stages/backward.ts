import type { Dataset } from "../../data/dataset.ts";
import type { Feeds } from "../../graph/graph.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, fromInts, toFloat32, toInts } from "../../tensor/numeric.ts";
import { step } from "../../tensor/progress.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import type { Account } from "../memory/account.ts";
import type { HiddenStates } from "../memory/hidden-states.ts";
import type { ParameterVersion } from "../memory/parameter-versions.ts";
import { openRoom, sessionMemory } from "../memory/room.ts";
import { ahead } from "./ahead.ts";
import { type BackwardSession, backwardSession, type GradientNeed } from "./backward-session.ts";
import { type FlowOptions, openFlow } from "./flow.ts";
import type { PlacedStage, StageKind, StageKinds } from "./stage-kinds.ts";
import { type CountedWeights, loadCounted, noWeights, type StageWeights } from "./stage-weights.ts";
import { tokenBatches } from "./windows.ts";

/** A stage, and the parameters of it whose gradients are measured. */
export interface GradientTarget {
  readonly placed: PlacedStage;
  readonly parameters: ReadonlySet<string>;
}

/**
 * Measures gradients of the mean loss of each window, of the labels of the data or the next token of each place, through the dense model: forward with what comes
 * into each stage kept, then backward with the gradient handed down from stage to stage. What is in memory is one stage with its
 * sums; `hidden` says where the rest is kept.
 */
export async function streamGradients(
  model: CheckpointModel,
  kinds: StageKinds,
  targets: readonly GradientTarget[],
  need: GradientNeed,
  data: Dataset,
  store: ParameterVersion,
  options: Omit<FlowOptions, "hidden" | "batchSize"> & { readonly hidden: () => HiddenStates | Promise<HiddenStates> },
): Promise<void> {
  const { runtime, signal, room = openRoom() } = options;
  const { account } = room;
  const work = account.take("what stages work with", room.backward);
  const head = model.stages.at(-1);
  if (head?.role !== "head" || model.kind !== "decoder") {
    throw new EspalierError("request", model.name, "expected a model that tells the next token, got another.");
  }
  const kept: HiddenStates[] = [await options.hidden()];
  const slopes = await options.hidden();
  const [first] = kept;
  if (first === undefined) return;
  const flow = await openFlow(model, kinds, data, {
    ...options,
    batchSize: 1,
    hidden: first,
    room: { ...room, forward: 0 },
  });
  const compiled = new Map<StageKind, Promise<BackwardSession>>();
  const total = 2 * targets.length + 1;
  const backs = [work];
  try {
    const labels: HostTensor[] = [];
    for await (const { tokens, batch } of tokenBatches(model, data, 1)) {
      const own =
        batch.labels === undefined ? nextTokens(tokens) : fromInts("i32", [batch.labels.length], batch.labels);
      backs.push(account.take("the tokens of the windows", own.bytes.byteLength));
      labels.push(own);
    }
    const shares = need === "gradient" ? sharesOf(labels) : null;
    const forward = ahead(targets.length, async (i) => weightsOf(account, model, targets[i]?.placed), room.ahead);
    for (const [i, { placed }] of targets.entries()) {
      step(options, "gradients", i, total, placed.stage.name);
      const { weights, back: read } = await forward(i);
      await flow.feed(placed, weights);
      read();
      const into = await options.hidden();
      kept.push(into);
      await flow.advance(placed, into);
    }
    /** One stage backward: every window from what came into it and the gradient of what it made. */
    const back = async (
      placed: PlacedStage,
      weights: StageWeights,
      wanted: ReadonlySet<string>,
      came: HiddenStates,
    ) => {
      const { kind, tensors, stage } = placed;
      const time = (await came.read(0)).shape[1] ?? 0;
      const known = compiled.get(kind);
      const firsts = new Set(kind.tensors.filter((_, i) => wanted.has(tensors[i] ?? "")));
      const made =
        known ?? backwardSession(runtime, sessionMemory(room), placed, model.outline.width, time, firsts, need);
      compiled.set(kind, made);
      const { session, parameters, upstream, downstream, sums } = await made;
      const reads = new Map<string, string>();
      const writes = new Map<string, string>();
      const own = new Map(kind.tensors.map((name, i) => [name, tensors[i] ?? ""]));
      const held = new Map<string, HostTensor>();
      for (const [name, input] of parameters) {
        const tensor = weights.get(own.get(name) ?? "");
        if (tensor === undefined) continue;
        reads.set(input, name);
        held.set(name, float32Tensor(tensor.shape, toFloat32(tensor)));
      }
      for (const [name, { input, output }] of sums) {
        const shape = weights.get(own.get(name) ?? "")?.shape ?? [];
        reads.set(input, `sum of ${name}`);
        writes.set(output, `sum of ${name}`);
        held.set(`sum of ${name}`, float32Tensor(shape, new Float32Array(sizeOf(shape))));
      }
      let bytes = 0;
      for (const tensor of held.values()) bytes += tensor.bytes.byteLength;
      // Here and beside the runtime.
      const counted = account.take(`gradients of ${stage.name}`, 2 * bytes);
      const state = await runtime.state();
      try {
        await state.set(held);
        // Beside the runtime from here on.
        held.clear();
        for (let window = 0; window < came.batches; window++) {
          signal?.throwIfAborted();
          const up = stage === head ? labels[window] : await slopes.read(window);
          const feeds: Feeds = new Map([
            [stage.input.name, await came.read(window)],
            ...(up === undefined ? [] : [[upstream, up] as const]),
          ]);
          const values = await session.run(feeds, [downstream], { state, reads, writes });
          const down = values.get(downstream);
          const share = stage === head ? (shares?.[window] ?? 1) : 1;
          if (down !== undefined) await slopes.write(window, share === 1 ? down : scaled(down, share));
        }
        const means = new Map<string, HostTensor>();
        for (const [name, sum] of await state.get([...sums.keys()].map((name) => `sum of ${name}`))) {
          const values = toFloat32(sum).map((value) => value / came.batches);
          means.set(own.get(name.slice("sum of ".length)) ?? "", float32Tensor(sum.shape, values));
        }
        return means;
      } finally {
        await state.release();
        counted();
      }
    };
    const last = kinds.place(head);
    const came = kept.pop();
    if (came === undefined) return;
    step(options, "gradients", targets.length, total, head.name);
    const { weights: end, back: read } = await weightsOf(account, model, last);
    await back(last, end, new Set(), came);
    read();
    await came.release();
    const backward = targets.toReversed();
    const next = ahead(backward.length, async (i) => weightsOf(account, model, backward[i]?.placed), room.ahead);
    for (const [i, { placed, parameters }] of backward.entries()) {
      step(options, "gradients", targets.length + 1 + i, total, placed.stage.name);
      const before = kept.pop();
      if (before === undefined) break;
      const { weights, back: given } = await next(i);
      await store.put(placed.stage.name, await back(placed, weights, parameters, before));
      given();
      await before.release();
    }
    step(options, "gradients", total, total);
  } finally {
    for (const one of await Promise.allSettled(compiled.values())) {
      if (one.status === "fulfilled") await one.value.session.release();
    }
    for (const one of kept) await one.release();
    await slopes.release();
    await flow.release();
    for (const back of backs) back();
  }
}

async function weightsOf(
  account: Account,
  model: CheckpointModel,
  placed: PlacedStage | undefined,
): Promise<CountedWeights> {
  return placed === undefined ? noWeights : loadCounted(account, model, placed);
}

/** How much the loss of each window counts in the mean over all labels, 1 where all have as many. */
function sharesOf(labels: readonly HostTensor[]): readonly number[] {
  const counts = labels.map((own) => toInts(own).reduce((sum: number, label) => sum + (label < 0 ? 0 : 1), 0));
  const all = counts.reduce((sum, count) => sum + count, 0);
  return counts.map((count) => (count * counts.length) / Math.max(1, all));
}

function scaled(tensor: HostTensor, factor: number): HostTensor {
  return float32Tensor(
    tensor.shape,
    toFloat32(tensor).map((value) => value * factor),
  );
}

/** The token behind each place of one window; −1 behind the last. tokens: i64 [1, time] → i32 [time] */
function nextTokens(tokens: HostTensor): HostTensor {
  const ids = toInts(tokens);
  return fromInts("i32", [ids.length], [...ids.slice(1), -1]);
}
