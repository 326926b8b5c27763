import type { Node } from "../graph/graph.ts";

const combinations: ReadonlyMap<string, "sum" | "product" | "join"> = new Map([
  ["Add", "sum"],
  ["Sub", "sum"],
  ["Sum", "sum"],
  ["Mul", "product"],
  ["Div", "product"],
  ["Concat", "join"],
]);

/** How a node puts its operands together where that alone is what it does; null for other nodes. */
export function combination({ domain, op }: Node): "sum" | "product" | "join" | null {
  return domain === "" ? (combinations.get(op) ?? null) : null;
}
