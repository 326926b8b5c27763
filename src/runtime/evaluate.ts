import { freeNames } from "../graph/captures.ts";
import type { Feeds, Graph } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { EspalierError } from "../tensor/error.ts";
import { type HostTensor, load } from "../tensor/tensor.ts";
import type { Runtime } from "./runtime.ts";

/**
 * Values of a graph by name, computed from its constants and the given feeds; only what they need is compiled and run.
 * Throws `request` for a name that the graph does not have and `data` when a value needs an input that is not fed.
 */
export async function evaluate(
  runtime: Pick<Runtime, "compile">,
  graph: Graph,
  names: readonly string[],
  feeds: Feeds = new Map(),
): Promise<ReadonlyMap<string, HostTensor>> {
  const values = new Map<string, HostTensor>();
  const computed = new Set<string>();
  for (const node of graph.nodes) for (const output of node.outputs) computed.add(output);
  const wanted: string[] = [];
  for (const name of new Set(names)) {
    const constant = graph.constants.get(name);
    const fed = feeds.get(name);
    if (constant !== undefined) values.set(name, await load(constant));
    else if (fed !== undefined) values.set(name, fed);
    else if (computed.has(name) && name !== "") wanted.push(name);
    else throw new EspalierError("request", name, `expected a value of the graph, got "${name}".`);
  }
  if (wanted.length === 0) return values;
  const part = removeDeadCode({ ...graph, outputs: wanted.map((name) => ({ name, dtype: null })) });
  const read = freeNames({ ...part, inputs: [], constants: new Map() });
  const inputs = part.inputs.filter((input) => read.has(input.name));
  const used = new Map([...feeds].filter(([name]) => inputs.some((input) => input.name === name)));
  const session = await runtime.compile({ ...part, inputs }, { optimisation: "disabled" });
  try {
    for (const [name, value] of await session.run(used)) values.set(name, value);
  } finally {
    await session.release();
  }
  return values;
}
