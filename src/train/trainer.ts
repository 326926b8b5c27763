import type { Feeds, Graph } from "../graph/graph.ts";
import type { Carry, Runtime, Session, State } from "../runtime/runtime.ts";
import { EspalierError } from "../tensor/error.ts";
import { converted, toFloat64 } from "../tensor/numeric.ts";
import { type HostTensor, load, type TensorRef } from "../tensor/tensor.ts";
import { diagnose } from "./diagnose.ts";
import type { GradientProbe, TrainStep } from "./step.ts";

/** Everything that a run needs to go on as if it had never stopped: the state, and how many updates made it. */
export interface Snapshot {
  readonly updates: number;
  readonly tensors: ReadonlyMap<string, HostTensor>;
}

/** Compiled train steps over one state. */
export interface Trainer {
  /** Updates done. */
  readonly updates: number;
  readonly state: State;
  /** All runs so far, those of probes included. */
  readonly work: { readonly forwardMacs: number; readonly backwardMacs: number; readonly runs: number };
  /**
   * Runs one of the steps and gives its reports. `advance` counts an update; default: true. Throws `gradient` where the loss or
   * a gradient is not finite, naming the first value that is not; the state is then as it was before the step.
   */
  run(step: TrainStep, feeds: Feeds, rate: number, options?: RunOptions): Promise<ReadonlyMap<string, number>>;
  /** Gradients by parameter at the present state; nothing changes. The probe is compiled when it is first used. */
  probe(probe: GradientProbe, feeds: Feeds, options?: RunOptions): Promise<ReadonlyMap<string, HostTensor>>;
  snapshot(): Promise<Snapshot>;
  restore(snapshot: Snapshot): Promise<void>;
  /** Changes tensors of the state: masks, parameters. */
  set(tensors: ReadonlyMap<string, HostTensor>): Promise<void>;
  get(names: readonly string[]): Promise<ReadonlyMap<string, HostTensor>>;
  release(): Promise<void>;
}

export interface RunOptions {
  readonly advance?: boolean;
  /** Numbers that a loss or a hook asks for. */
  readonly number?: (name: string) => number;
}

/** Compiles steps and fills their common state with what they start from. */
export async function openTrainer(runtime: Runtime, steps: readonly TrainStep[]): Promise<Trainer> {
  const state = await runtime.state();
  const sessions = new Map<TrainStep | GradientProbe, Session>();
  const names = new Set<string>();
  const work = { forwardMacs: 0, backwardMacs: 0, runs: 0 };
  let updates = 0;

  function count(step: Pick<TrainStep, "work">): void {
    work.forwardMacs += step.work.forwardMacs;
    work.backwardMacs += step.work.backwardMacs;
    work.runs++;
  }

  async function release(): Promise<void> {
    for (const session of sessions.values()) await session.release();
    sessions.clear();
    await state.release();
  }

  try {
    for (const step of new Set(steps)) {
      await state.set(await firstValues(step, names));
      sessions.set(step, await runtime.compile(step.graph));
    }
  } catch (cause) {
    await release();
    throw cause;
  }

  return {
    get updates() {
      return updates;
    },
    state,
    get work() {
      return { ...work };
    },
    run: async (step, feeds, rate, { advance = true, number } = {}) => {
      const session = sessions.get(step);
      if (session === undefined)
        throw new EspalierError("request", "step", "expected a step that was compiled, got another.");
      const given = new Map([...pick(feeds, step.data), ...step.numbers(updates + 1, rate, number)]);
      const carry: Carry = { state, reads: step.reads, writes: step.writes, guard: step.guard };
      const found = await session.run(given, [...step.reports.values(), step.guard], carry);
      count(step);
      if (!Number.isFinite(scalarOf(found.get(step.guard)))) {
        const held = await state.get([...step.reads.values()]);
        const everything = new Map([
          ...given,
          ...[...step.reads].map(([input, name]) => [input, needed(held, name)] as const),
        ]);
        throw await diagnose(runtime, step.graph, everything, updates + 1);
      }
      if (advance) updates++;
      return new Map([...step.reports].map(([name, output]) => [name, scalarOf(found.get(output))]));
    },
    probe: async (probe, feeds, { number } = {}) => {
      const session = sessions.get(probe) ?? (await runtime.compile(probe.graph));
      sessions.set(probe, session);
      const given = new Map([...pick(feeds, probe.data), ...probe.numbers(updates, 0, number)]);
      const carry: Carry = { state, reads: probe.reads, writes: new Map() };
      const found = await session.run(given, [...probe.gradients.values()], carry);
      count(probe);
      return new Map([...probe.gradients].map(([name, output]) => [name, needed(found, output)]));
    },
    snapshot: async () => ({ updates, tensors: await state.get() }),
    restore: async (snapshot) => {
      const missing = [...names].find((name) => !snapshot.tensors.has(name));
      if (missing !== undefined) {
        const message = `expected a snapshot of this training, got one without "${missing}".`;
        throw new EspalierError("request", "snapshot", message, "Resume with the recipe that it was made with.");
      }
      await state.set(snapshot.tensors);
      updates = snapshot.updates;
    },
    set: (tensors) => state.set(tensors),
    get: (wanted) => state.get(wanted),
    release,
  };
}

/** What a step's state starts with, in the types of its inputs; what an earlier step brought already stays. */
async function firstValues(step: TrainStep, known: Set<string>): Promise<ReadonlyMap<string, HostTensor>> {
  const inputs = new Map(step.graph.inputs.map((info) => [info.name, info]));
  const values = new Map<string, HostTensor>();
  for (const [input, name] of step.reads) {
    const [first, info] = [step.initial.get(name), inputs.get(input)];
    if (first === undefined || info === undefined || known.has(name)) continue;
    known.add(name);
    const tensor = "bytes" in first ? first : await load(first);
    values.set(name, converted(tensor, info.dtype ?? tensor.dtype));
  }
  return values;
}

function pick(feeds: Feeds, names: readonly string[]): Map<string, HostTensor> {
  return new Map(names.map((name) => [name, needed(feeds, name)]));
}

function needed(tensors: ReadonlyMap<string, HostTensor>, name: string): HostTensor {
  const found = tensors.get(name);
  if (found !== undefined) return found;
  throw new EspalierError("data", name, "expected a tensor for every input of the train step, got none for this one.");
}

function scalarOf(tensor: HostTensor | undefined): number {
  return tensor === undefined ? Number.NaN : (toFloat64(tensor)[0] ?? Number.NaN);
}

/** The graph with tensors of a state in the place of its constants of the same names, in their own types. */
export function withState(graph: Graph, tensors: ReadonlyMap<string, HostTensor>): Graph {
  const constants = new Map<string, TensorRef>(graph.constants);
  for (const [name, ref] of graph.constants) {
    const found = tensors.get(name);
    if (found === undefined) continue;
    const { dtype, shape, bytes } = converted(found, ref.dtype);
    constants.set(name, { dtype, shape, resident: bytes });
  }
  return { ...graph, constants };
}
