import type { Graph } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";
import { checkBounds, checkTypes } from "./bounds.ts";
import type { Carried, Engine } from "./engine.ts";
import { explain } from "./explain.ts";
import { checkFeeds, checkFetch } from "./feeds.ts";
import { inferTypes } from "./ort/infer-types.ts";
import { type Locate, pack } from "./ort/pack.ts";
import type { Carry, Device, Runtime, Session, SessionOptions, State } from "./runtime.ts";

export interface RuntimeSettings {
  readonly device: Device;
  readonly threads: number;
  readonly version: string;
  readonly notes: readonly string[];
  /** See `Runtime`; default 0. */
  readonly channelBlock?: number;
  /** Absent where files cannot be mapped: weights are then read into memory. */
  readonly locate?: Locate;
  /** See `Runtime`. */
  readonly reference?: () => Promise<Runtime>;
}

/** One compiled session, shared by everybody who asked for the same graph with the same options. */
interface Shared {
  readonly id: Promise<number>;
  users: number;
}

/** What stands behind a session that this runtime gave out. */
interface Known {
  readonly graph: Graph;
  /** Throws when the session was released. */
  id(): Promise<number>;
}

/** The public runtime over an engine: packing, sharing of sessions, checks and errors that name the culprit. */
export function runtimeOverEngine(engine: Engine, settings: RuntimeSettings): Runtime {
  const compiled = new WeakMap<Graph, Map<string, Shared>>();
  const known = new WeakMap<Session, Known>();
  const states = new WeakMap<State, number>();
  let closed = false;

  async function attempt<T>(doing: string, work: () => Promise<T>): Promise<T> {
    if (closed) throw new EspalierError("runtime", doing, "expected an open runtime, got one that was closed.");
    try {
      return await work();
    } catch (cause) {
      throw explain(cause, doing);
    }
  }

  async function create(graph: Graph, { repack, ...options }: Required<SessionOptions>): Promise<number> {
    await checkBounds(graph);
    return engine.create(await pack(graph, settings.locate), { ...options, once: !repack });
  }

  function share(graph: Graph, options: Required<SessionOptions>): { shared: Shared; leave: () => Promise<void> } {
    const key = `${options.threads} ${options.optimisation} ${options.repack} ${options.memory}`;
    const byOptions = compiled.get(graph) ?? new Map<string, Shared>();
    compiled.set(graph, byOptions);
    const shared = byOptions.get(key) ?? { id: create(graph, options), users: 0 };
    byOptions.set(key, shared);
    shared.users++;
    const leave = async () => {
      if (--shared.users > 0) return;
      if (byOptions.get(key) === shared) byOptions.delete(key);
      const id = await shared.id.catch(() => undefined);
      if (id !== undefined && !closed) await engine.release(id);
    };
    return { shared, leave };
  }

  async function compile(graph: Graph, options: SessionOptions = {}): Promise<Session> {
    const { threads = settings.threads, optimisation = "all", repack = true, memory = "planned" } = options;
    const { shared, leave } = share(graph, { threads, optimisation, repack, memory });
    try {
      await shared.id;
    } catch (cause) {
      await leave();
      throw cause;
    }
    let released = false;
    const id = () => {
      if (released) throw new EspalierError("runtime", "session", "expected an open session, got a released one.");
      return shared.id;
    };
    const outputs = graph.outputs.map((output) => output.name);
    const session: Session = {
      outputs,
      run: (feeds, fetch, carry, into) =>
        attempt("run", async () => {
          const fed = graph.inputs.filter(({ name }) => carry?.reads.has(name) !== true);
          const given = checkFeeds(fed, feeds);
          const asked = fetch ?? outputs.filter((name) => carry?.writes.has(name) !== true);
          const carried = carry === undefined ? undefined : carriedBy(carry);
          const places = into === undefined ? undefined : [...into];
          return new Map(await engine.run(await id(), given, checkFetch(outputs, asked), carried, places));
        }),
      release: async () => {
        if (released) return;
        released = true;
        await leave();
      },
    };
    known.set(session, { id, graph });
    return session;
  }

  async function openState(): Promise<State> {
    const id = await engine.createState();
    const state: State = {
      set: (tensors) => attempt("state", () => engine.setState(id, [...tensors])),
      get: (names) => attempt("state", async () => new Map(await engine.getState(id, names))),
      release: async () => {
        if (!closed) await engine.releaseState(id);
      },
    };
    states.set(state, id);
    return state;
  }

  function carriedBy({ state, reads, writes, guard }: Carry): Carried {
    const id = states.get(state);
    if (id === undefined) throw new EspalierError("request", "run", "expected a state of this runtime, got another's.");
    return { state: id, reads: [...reads], writes: [...writes], ...(guard === undefined ? {} : { guard }) };
  }

  const runtime: Runtime = {
    device: settings.device,
    threads: settings.threads,
    version: settings.version,
    notes: settings.notes,
    channelBlock: settings.channelBlock ?? 0,
    ...(settings.reference === undefined ? {} : { reference: settings.reference }),
    compile: (graph, options) => attempt("compile", () => compile(graph, options)),
    state: () => attempt("state", openState),
    types: (graph, inputs) =>
      attempt("types", async () => {
        await checkBounds(graph);
        checkTypes(inputs);
        const types = await inferTypes(graph, inputs, {
          outputTypes: async (asked) => engine.outputTypes(await pack(asked, settings.locate)),
          runOnce: async (asked, feeds) => {
            const once = { threads: settings.threads, repack: false, memory: "freed" } as const;
            const id = await create(asked, { ...once, optimisation: "basic" });
            try {
              const fetch = asked.outputs.map((output) => output.name);
              return new Map(await engine.run(id, checkFeeds(asked.inputs, feeds), fetch));
            } finally {
              await engine.release(id);
            }
          },
        });
        checkTypes(types);
        return types;
      }),
    measure: (sessions, options = {}) =>
      attempt("measure", async () => {
        const jobs = await Promise.all(
          sessions.map(async ({ session, feeds }) => {
            const found = known.get(session);
            if (found === undefined) {
              throw new EspalierError("request", "measure", "expected sessions of this runtime, got another's.");
            }
            return { session: await found.id(), feeds: checkFeeds(found.graph.inputs, feeds) };
          }),
        );
        return engine.measure(jobs, { runs: 30, warmup: 3, maxSeconds: 20, ...options });
      }),
    close: async () => {
      if (closed) return;
      closed = true;
      await engine.close();
    },
  };
  return runtime;
}
