import type { Feeds, Graph } from "../graph/graph.ts";
import { printGraph } from "../graph/print.ts";
import { analyse } from "../models/analysis.ts";
import type { Runtime, Session } from "../runtime/runtime.ts";
import { isFloat } from "../tensor/dtype.ts";
import { bytesOf } from "../tensor/tensor.ts";

/** What a run of a method took; "equal compute" means equal multiply-accumulates here. */
export interface LedgerTotals {
  /** Multiply-accumulates of convolutions and matrix products in graphs that were run. */
  readonly forwardMacs: number;
  readonly backwardMacs: number;
  /** Samples fed, each time that they were fed. */
  readonly samples: number;
  /** Bytes handed to the runtime and back. */
  readonly bytes: number;
  /** Seconds inside the runtime, compiling included. */
  readonly seconds: number;
}

/** Counts what passes through runtimes. Latency measurements are not work of a method and are left out. */
export interface Ledger {
  /** The same runtime, counted. A graph that computes gradients counts as backward. */
  watch(runtime: Runtime, direction?: "forward" | "backward"): Runtime;
  totals(): LedgerTotals;
}

/** Multiply-accumulates of runs, by the form of a graph and the shapes that it was fed. */
export type KnownRuns = Map<string, number>;

/**
 * A ledger with nothing in it. `known`: what runs were found to take, which ledgers of one comparison share: arms, draws and shares
 * run graphs that differ in numbers alone, and analysing each anew takes longer than small models take to run.
 */
export function ledger(known: KnownRuns = new Map()): Ledger {
  const sum = { forwardMacs: 0, backwardMacs: 0, samples: 0, bytes: 0, seconds: 0 };
  const timed = async <T>(work: () => Promise<T>): Promise<T> => {
    const start = performance.now();
    try {
      return await work();
    } finally {
      sum.seconds += (performance.now() - start) / 1000;
    }
  };
  return {
    totals: () => ({ ...sum }),
    watch: (runtime, direction = "forward") => {
      const field = direction === "forward" ? "forwardMacs" : "backwardMacs";
      const originals = new Map<Session, Session>();
      return {
        ...runtime,
        compile: async (graph, options) => {
          const session = await timed(() => runtime.compile(graph, options));
          const form = formOf(graph);
          const watched: Session = {
            outputs: session.outputs,
            release: () => {
              originals.delete(watched);
              return session.release();
            },
            run: async (feeds, fetch, carry, into) => {
              const found = await timed(() => session.run(feeds, fetch, carry, into));
              const shapes = [...feeds].map(([name, { dtype, shape }]) => `${name} ${dtype} ${shape.join("x")}`);
              const key = `${form}${shapes.join("\n")}`;
              const macs = known.get(key) ?? (await macsOfRun(runtime, graph, feeds));
              known.set(key, macs);
              sum[field] += macs;
              sum.samples += samplesOf(graph, feeds);
              for (const { bytes } of [...feeds.values(), ...found.values()]) sum.bytes += bytes.length;
              return found;
            },
          };
          originals.set(watched, session);
          return watched;
        },
        measure: (sessions, options) =>
          runtime.measure(
            sessions.map(({ session, feeds }) => ({ session: originals.get(session) ?? session, feeds })),
            options,
          ),
      };
    },
  };
}

/** Integers of at most this many bytes can be sizes. */
const sizeBytes = 1024;

/** All of a graph that decides what a run takes: equal texts, equal work at equal shapes. */
function formOf(graph: Graph): string {
  const sizes = [...graph.constants].flatMap(([name, ref]) =>
    ref.resident === undefined || isFloat(ref.dtype) || bytesOf(ref) > sizeBytes
      ? []
      : [`${name} ${ref.dtype} ${ref.resident.join(" ")}\n`],
  );
  return `${printGraph(graph)}${sizes.join("")}`;
}

/** Size of axis 0 of the first input that has one. */
function samplesOf(graph: Graph, feeds: Feeds): number {
  for (const { name } of graph.inputs) {
    const first = feeds.get(name)?.shape[0];
    if (first !== undefined) return first;
  }
  return 0;
}

/** Multiply-accumulates of one run at the shapes of these feeds. */
async function macsOfRun(runtime: Runtime, graph: Graph, feeds: Feeds): Promise<number> {
  // What a state feeds has the sizes that its named axes have in what the caller fed.
  const sizes = new Map<string, number>();
  for (const { name, dims = [] } of graph.inputs) {
    for (const [axis, size] of (feeds.get(name)?.shape ?? []).entries()) {
      const dim = dims[axis];
      if (typeof dim === "string") sizes.set(dim, size);
    }
  }
  const inputs = graph.inputs.map((input) => {
    const fed = feeds.get(input.name);
    if (fed !== undefined) return { ...input, dtype: fed.dtype, dims: fed.shape };
    if (input.dims === undefined) return input;
    return { ...input, dims: input.dims.map((dim) => (typeof dim === "string" ? (sizes.get(dim) ?? dim) : dim)) };
  });
  const { cost, samples } = await analyse({ ...graph, inputs, valueInfo: new Map() }, runtime);
  return cost.total().macs * samples;
}
