import type { Gradient, OpSpec } from "../../src/ops/spec.ts";
import { operators } from "../../src/ops/table.ts";
import { differenceCases } from "./cases.ts";
import { loweredCases } from "./lowered.ts";
import { pytorchCases } from "./pytorch.ts";

/** An operator of the table. */
export interface Entry {
  readonly domain: string;
  readonly op: string;
  readonly spec: OpSpec;
}

/** The name that cases use. */
export const caseName = ({ domain, op }: Pick<Entry, "domain" | "op">): string =>
  domain === "" ? op : `${domain}::${op}`;

/** How an operator differentiates, in one word or two. */
export function gradientWords(grad: Gradient): string {
  if (grad === null) return "none";
  if (grad === "flat") return "flat";
  if (typeof grad === "function") return "rule";
  if ("compose" in grad) return "rule, composed";
  return grad.rule === undefined ? "by other operators" : "rule";
}

/** What the derivatives of an operator were compared with: read off the cases of this folder. */
export function comparedWith(name: string): readonly string[] {
  const differences = differenceCases.filter(({ op }) => op === name);
  const kinds: readonly (readonly [words: string, count: number])[] = [
    ["differences f64", differences.filter(({ dtype }) => dtype === undefined).length],
    ["differences f32", differences.filter(({ dtype }) => dtype === "f32").length],
    ["PyTorch", pytorchCases.filter(({ one }) => one.op === name).length],
    ["own outputs", loweredCases.filter(({ op }) => op === name).length],
  ];
  return kinds.flatMap(([words, count]) => (count === 0 ? [] : [`${words} (${count})`]));
}

/** Operators that differentiate and that no case compares. */
export function uncompared(without: ReadonlySet<string> = new Set()): readonly string[] {
  return operators()
    .filter(({ spec: { grad } }) => grad !== null && grad !== "flat")
    .map(caseName)
    .filter((name) => without.has(name) || comparedWith(name).length === 0);
}
