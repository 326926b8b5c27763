import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { EspalierError } from "../../tensor/error.ts";
import type { Engine, PackedModel } from "../engine.ts";
import type { OpenedEngine } from "../ort/open-engine.node.ts";
import { putInto } from "../put-into.ts";
import {
  type Call,
  owned,
  ownedTensors,
  type Reply,
  type Request,
  revive,
  type WorkerSettings,
} from "./worker-messages.ts";

interface Waiting {
  resolve(reply: Reply): void;
  reject(reason: Error): void;
}

/**
 * ONNX Runtime in a worker thread, so that this thread keeps its event loop while a session compiles or runs.
 * The worker keeps the process alive only while something is asked of it. Never let the process exit in mid-run: that
 * aborts (a signal may end it). A run cannot be interrupted; where `signal` is aborted nobody waits for it any longer, and
 * the thread ends by itself once it is through.
 */
export async function openWorkerEngine(
  entry: URL,
  settings: WorkerSettings,
  signal?: AbortSignal,
): Promise<OpenedEngine> {
  const worker = new Worker(entry, { workerData: settings });
  const waiting = new Map<number, Waiting>();
  let next = 1;

  function fail(reason: Error): void {
    for (const { reject } of waiting.values()) reject(reason);
    waiting.clear();
  }

  function abandon(): void {
    if (waiting.size > 0) fail(reasonOf(signal));
  }
  signal?.addEventListener("abort", abandon, { once: true });

  function wait(id: number): Promise<Reply> {
    worker.ref();
    return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
  }

  function ask(call: Call, transfer: readonly ArrayBuffer[] = []): Promise<Reply> {
    if (signal?.aborted === true) return Promise.reject(reasonOf(signal));
    const id = next++;
    const reply = wait(id);
    worker.postMessage({ ...call, id } satisfies Request, transfer);
    return reply;
  }

  worker.on("message", (reply: Reply) => {
    const waiter = waiting.get(reply.id);
    waiting.delete(reply.id);
    if (waiting.size === 0 && signal?.aborted !== true) worker.unref();
    if (reply.failure === undefined) waiter?.resolve(reply);
    else waiter?.reject(revive(reply.failure));
  });
  worker.on("error", (cause) => fail(cause));
  worker.on("exit", () =>
    fail(new EspalierError("runtime", "worker", "expected the runtime's thread to go on, but it ended.")),
  );

  const { opened } = await wait(0);
  if (opened === undefined) throw new EspalierError("runtime", "worker", "expected a greeting, got another message.");

  const engine: Engine = {
    create: async (model, options) => {
      const transfer: ArrayBuffer[] = [];
      const { session } = await ask({ call: "create", model: ownedModel(model, transfer), options }, transfer);
      return session ?? missing("session");
    },
    outputTypes: async (model) => {
      const transfer: ArrayBuffer[] = [];
      const { types } = await ask({ call: "outputTypes", model: ownedModel(model, transfer) }, transfer);
      return types ?? missing("types");
    },
    run: async (session, feeds, fetch, carried, into = []) => {
      const transfer: ArrayBuffer[] = [];
      const call = { call: "run", session, feeds: ownedTensors(feeds, transfer), fetch, carried } as const;
      const { outputs } = await ask(call, transfer);
      return putInto(outputs ?? missing("outputs"), into);
    },
    createState: async () => {
      const { state } = await ask({ call: "createState" });
      return state ?? missing("state");
    },
    setState: async (state, tensors) => {
      const transfer: ArrayBuffer[] = [];
      await ask({ call: "setState", state, tensors: ownedTensors(tensors, transfer) }, transfer);
    },
    getState: async (state, names) => {
      const { outputs } = await ask({ call: "getState", state, names });
      return outputs ?? missing("outputs");
    },
    releaseState: async (state) => {
      await ask({ call: "releaseState", state });
    },
    measure: async (jobs, options) => {
      const transfer: ArrayBuffer[] = [];
      const sent = jobs.map(({ session, feeds }) => ({ session, feeds: ownedTensors(feeds, transfer) }));
      const { latencies } = await ask({ call: "measure", jobs: sent, options }, transfer);
      return latencies ?? missing("latencies");
    },
    release: async (session) => {
      await ask({ call: "release", session });
    },
    close: async () => {
      signal?.removeEventListener("abort", abandon);
      if (signal?.aborted === true) {
        // Nobody waits for the answer, but the process stays until the thread is through.
        worker.postMessage({ call: "close", id: next++ } satisfies Request);
        worker.ref();
        return;
      }
      const ended = once(worker, "exit");
      await ask({ call: "close" });
      worker.ref();
      await ended;
    },
  };
  return { engine, ...opened };
}

function reasonOf(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error
    ? reason
    : new EspalierError("runtime", "worker", "expected to be waited for, was stopped.", "", { cause: reason });
}

function missing(what: string): never {
  throw new EspalierError("runtime", "worker", `expected ${what}, got an empty reply.`);
}

function ownedModel(model: PackedModel, transfer: ArrayBuffer[]): PackedModel {
  const external = model.external.map(({ path, data }) => {
    const copy = owned(data);
    transfer.push(copy.buffer);
    return { path, data: copy };
  });
  return { ...model, external };
}
