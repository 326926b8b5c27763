import type * as Ort from "onnxruntime-web";
import { EspalierError } from "../../tensor/error.ts";
import { toFloat32 } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type {
  Carried,
  CreateOptions,
  Engine,
  MeasureOptions,
  NamedTensors,
  OutputType,
  PackedModel,
} from "../engine.ts";
import { latencyOf } from "../latency.ts";
import { putInto } from "../put-into.ts";
import type { Device, Latency } from "../runtime.ts";
import { dtypeOf, fromOrt, toOrt } from "./ort-tensor.ts";

/** The part of onnxruntime-node and onnxruntime-web that is used. */
export type OrtPackage = Pick<typeof Ort, "InferenceSession" | "Tensor">;

interface Held {
  readonly session: Ort.InferenceSession;
  /** Weights given as buffers are used in place: they must live as long as the session. */
  readonly weights: PackedModel["external"];
}

/**
 * ONNX Runtime in this thread: `create` and `run` block it while they work. Types are inferred on `host`, the package's
 * CPU provider, since they are the same everywhere and GPUs rewrite the graph while they compile.
 */
export function ortEngine(ort: OrtPackage, device: Device, host: "cpu" | "wasm"): Engine {
  const held = new Map<number, Held>();
  const states = new Map<number, Map<string, HostTensor>>();
  // Elsewhere results are made in memory of the package's own.
  const onProcessor = host === "cpu" && device === "cpu";
  let next = 1;
  let last: Promise<unknown> = Promise.resolve();

  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = last.then(work);
    last = result.catch(() => undefined);
    return result;
  }

  function get(id: number): Ort.InferenceSession {
    const found = held.get(id);
    if (found === undefined) throw new Error("The session was released before.");
    return found.session;
  }

  function open(model: PackedModel, options: CreateOptions, on: Device = device): Promise<Ort.InferenceSession> {
    return ort.InferenceSession.create(model.bytes, sessionOptions(model, options, on));
  }

  function feedsOf(feeds: NamedTensors): Record<string, Ort.Tensor> {
    return Object.fromEntries(feeds.map(([name, tensor]) => [name, toOrt(tensor, ort.Tensor, name)]));
  }

  function stateOf(id: number): Map<string, HostTensor> {
    const found = states.get(id);
    if (found === undefined) throw new Error("The state was released before.");
    return found;
  }

  async function run(
    id: number,
    feeds: NamedTensors,
    fetch: readonly string[],
    carried: Carried | undefined,
    into: NamedTensors = [],
  ): Promise<NamedTensors> {
    const state = carried === undefined ? undefined : stateOf(carried.state);
    const kept = carried?.reads.map(([input, name]) => [input, heldIn(state, name)] as const) ?? [];
    const written = carried?.writes ?? [];
    const guard = carried?.guard;
    const asked = new Set([...fetch, ...written.map(([output]) => output), ...(guard === undefined ? [] : [guard])]);
    const places = onProcessor && into.length > 0 ? feedsOf(into) : null;
    const fetches = places === null ? [...asked] : Object.fromEntries([...asked].map((n) => [n, places[n] ?? null]));
    const results = await get(id).run(feedsOf([...feeds, ...kept]), fetches);
    const value = (name: string): HostTensor | undefined => {
      const found = results[name];
      return found === undefined ? undefined : fromOrt(found);
    };
    const sound = guard === undefined || allFinite(value(guard));
    for (const [output, name] of sound ? written : []) {
      const tensor = value(output);
      if (tensor !== undefined) state?.set(name, tensor);
    }
    const given = fetch.flatMap((name) => {
      const tensor = value(name);
      return tensor === undefined ? [] : [[name, tensor] as const];
    });
    // The package hands out a copy even of what it made where it was told to.
    return putInto(given, into, (name, { bytes }) => {
      const data = places?.[name]?.data;
      return ArrayBuffer.isView(data) && data.buffer === bytes.buffer;
    });
  }

  async function timed(session: Ort.InferenceSession, feeds: Record<string, Ort.Tensor>): Promise<number> {
    const start = performance.now();
    await session.run(feeds);
    return performance.now() - start;
  }

  async function measureAll(
    jobs: readonly { readonly session: number; readonly feeds: NamedTensors }[],
    { runs, warmup, maxSeconds }: MeasureOptions,
  ): Promise<readonly Latency[]> {
    const ready = jobs.map((job) => ({ session: get(job.session), feeds: feedsOf(job.feeds), times: [] as number[] }));
    const deadline = performance.now() + maxSeconds * 1000;
    for (let i = 0; i < warmup && (i === 0 || performance.now() < deadline); i++) {
      for (const { session, feeds } of ready) await session.run(feeds);
    }
    for (let i = 0; i < runs && (i === 0 || performance.now() < deadline); i++) {
      for (const { session, feeds, times } of ready) times.push(await timed(session, feeds));
    }
    return ready.map(({ times }) => latencyOf(times));
  }

  async function release(id: number): Promise<void> {
    const found = held.get(id);
    held.delete(id);
    await found?.session.release();
  }

  return {
    create: (model, options) =>
      inTurn(async () => {
        const session = await open(model, options);
        held.set(next, { session, weights: model.external });
        return next++;
      }),
    outputTypes: (model) =>
      inTurn(async () => {
        const session = await open(model, { threads: 1, optimisation: "basic", once: true }, host);
        const types = session.outputMetadata.map(typeOf);
        await session.release();
        return types;
      }),
    run: (id, feeds, fetch, carried, into) => inTurn(() => run(id, feeds, fetch, carried, into)),
    createState: () =>
      inTurn(async () => {
        states.set(next, new Map());
        return next++;
      }),
    setState: (state, tensors) =>
      inTurn(async () => {
        const named = stateOf(state);
        for (const [name, tensor] of tensors) named.set(name, tensor);
      }),
    getState: (state, names) =>
      inTurn(async () => {
        const named = stateOf(state);
        return (names ?? [...named.keys()]).map((name) => [name, heldIn(named, name)] as const);
      }),
    releaseState: (state) =>
      inTurn(async () => {
        states.delete(state);
      }),
    measure: (jobs, options) => inTurn(() => measureAll(jobs, options)),
    release: (id) => inTurn(() => release(id)),
    close: () =>
      inTurn(async () => {
        for (const id of [...held.keys()]) await release(id);
        states.clear();
      }),
  };
}

function heldIn(state: ReadonlyMap<string, HostTensor> | undefined, name: string): HostTensor {
  const found = state?.get(name);
  if (found !== undefined) return found;
  throw new EspalierError("request", `state "${name}"`, "expected a tensor of this name in the state, got none.");
}

function allFinite(tensor: HostTensor | undefined): boolean {
  return tensor === undefined || toFloat32(tensor).every(Number.isFinite);
}

function sessionOptions(
  model: PackedModel,
  options: CreateOptions,
  device: Device,
): Ort.InferenceSession.SessionOptions {
  const session = {
    ...(options.once ? { disable_prepacking: "1" } : {}),
    ...(model.folder === undefined ? {} : { model_external_initializers_file_folder_path: model.folder }),
  };
  return {
    executionProviders: [provider(device)],
    graphOptimizationLevel: options.optimisation,
    // Failures come back as errors; the same text on stderr would break the progress display.
    logSeverityLevel: 4,
    extra: { session },
    ...(device === "wasm" ? {} : { intraOpNumThreads: options.threads, interOpNumThreads: 1 }),
    ...(options.once || options.memory === "freed" ? { enableCpuMemArena: false } : {}),
    ...(options.once || (options.memory ?? "planned") !== "planned" ? { enableMemPattern: false } : {}),
    ...(model.external.length > 0 ? { externalData: model.external } : {}),
  };
}

function provider(device: Device): Ort.InferenceSession.ExecutionProviderConfig {
  // In any other layout, convolutions whose input channels are divisible by 3 but not by 4 were silently wrong on 1.30.
  return device === "webgpu" ? { name: "webgpu", preferredLayout: "NCHW" } : device;
}

function typeOf(value: Ort.InferenceSession.ValueMetadata): OutputType {
  return value.isTensor
    ? { name: value.name, dtype: dtypeOf(value.type), shape: [...value.shape] }
    : { name: value.name, dtype: null, shape: [] };
}
