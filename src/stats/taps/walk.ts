import type { Dataset } from "../../data/dataset.ts";
import { captures } from "../../graph/captures.ts";
import type { Feeds, Graph } from "../../graph/graph.ts";
import { extract, type Types } from "../../graph/subgraph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

/** What a walk may hold in memory between two steps, unless told otherwise. */
const HOLD_BYTES = 1 << 30;

/** A forward pass over a whole data set that stops at places on the way, while the graph behind them changes. */
export interface Walk {
  /**
   * Computes values of `graph` and hands those of each batch to `take`. `position` is a place in the order of nodes that
   * later steps do not go back before: what is needed from there on is kept, so that the nodes before run only once.
   */
  step(
    graph: Graph,
    wanted: readonly string[],
    position: number,
    take: (values: ReadonlyMap<string, HostTensor>, count: number) => void,
  ): Promise<void>;
}

/**
 * Starts a walk at the inputs. Graphs of later steps may differ from earlier ones only behind the earlier positions.
 * Values are kept for all batches at once where they fit into `holdBytes`; else every step starts at the inputs again.
 */
export async function walk(
  runtime: Runtime,
  data: Dataset,
  batchSize: number,
  types: Types,
  holdBytes = HOLD_BYTES,
): Promise<Walk> {
  const inputs: { readonly feeds: Feeds; readonly count: number }[] = [];
  for await (const batch of data.batches(batchSize)) inputs.push({ feeds: batch.inputs, count: batch.count });
  let held: readonly { readonly feeds: Feeds; readonly count: number }[] = inputs;
  const rank = (name: string) => types.get(name)?.shape.length;
  return {
    step: async (graph, wanted, position, take) => {
      const known = new Set(held[0]?.feeds.keys() ?? []);
      const from = [...known].filter((name) => !isInput(graph, name));
      const keep = new Set(crossing(graph, position));
      const next = [...keep].filter((name) => !known.has(name));
      const part = extract(graph, [...new Set([...wanted, ...next])], { types, from });
      const open = {
        ...part,
        inputs: part.inputs.map(({ name, dtype }) => ({
          name,
          dtype: held[0]?.feeds.get(name)?.dtype ?? dtype,
          ...(rank(name) === undefined ? {} : { dims: Array<null>(rank(name) ?? 0).fill(null) }),
        })),
        outputs: part.outputs.map(({ name }) => ({ name, dtype: null })),
        valueInfo: new Map(),
      };
      const session = await runtime.compile(open);
      try {
        const after: { feeds: Feeds; count: number }[] = [];
        let bytes = 0;
        for (const { feeds, count } of held) {
          const used = new Map([...feeds].filter(([name]) => open.inputs.some((input) => input.name === name)));
          const values = await session.run(used);
          take(values, count);
          const kept = new Map([...feeds, ...values].filter(([name]) => keep.has(name)));
          for (const value of kept.values()) bytes += value.bytes.length;
          if (bytes <= holdBytes) after.push({ feeds: kept, count });
        }
        held = bytes <= holdBytes ? after : inputs;
      } finally {
        await session.release();
      }
    },
  };
}

function isInput(graph: Graph, name: string): boolean {
  return graph.inputs.some((input) => input.name === name);
}

/**
 * Values that nodes from a position on read and that inputs, or nodes before it that see inputs, make. What follows from constants
 * alone, such as a transposed weight, is made anew: a later graph may have other numbers there, though its node comes before.
 */
function crossing(graph: Graph, position: number): string[] {
  const made = new Set(graph.inputs.map(({ name }) => name));
  for (const node of graph.nodes.slice(0, position)) {
    const sees = [...node.inputs, ...captures(node)].some((name) => made.has(name));
    if (sees || node.inputs.length === 0) for (const name of node.outputs) made.add(name);
  }
  const read = new Set<string>();
  for (const node of graph.nodes.slice(position)) {
    for (const name of [...node.inputs, ...captures(node)]) if (made.has(name)) read.add(name);
  }
  for (const { name } of graph.outputs) if (made.has(name)) read.add(name);
  return [...read].filter((name) => name !== "");
}
