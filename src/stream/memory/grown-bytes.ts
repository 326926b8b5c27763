import type { Graph, TensorType } from "../../graph/graph.ts";
import { liveBytes } from "../../graph/passes/live-bytes.ts";

/** A graph and the types of its values, for windows of some length. */
export interface TypedGraph {
  readonly graph: Graph;
  readonly types: ReadonlyMap<string, TensorType>;
}

/**
 * Lengths at which types are learned: so long that what has time² numbers is data already and no list of sizes, and so short that
 * it takes no memory to speak of.
 */
const [short, long] = [288, 320] as const;

/**
 * The most that values take at once in a graph for windows of `time` tokens. Long windows are not tried, since to compile a stage
 * for them folds masks of time² numbers several times over: each size of a value is linear in the time, and follows from two short ones.
 */
export async function grownBytes(at: (time: number) => Promise<TypedGraph>, time: number): Promise<number> {
  const { graph, types } = await at(Math.min(time, long));
  if (time <= long) return liveBytes(graph, types);
  const before = (await at(short)).types;
  const grown = new Map<string, TensorType>();
  for (const [name, { dtype, shape }] of types) {
    const shorter = before.get(name)?.shape ?? shape;
    const perToken = (n: number, axis: number): number => (n - (shorter[axis] ?? n)) / (long - short);
    grown.set(name, { dtype, shape: shape.map((n, axis) => Math.ceil(n + (time - long) * perToken(n, axis))) });
  }
  return liveBytes(graph, grown);
}
