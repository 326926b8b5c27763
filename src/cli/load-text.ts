import { type Load, loaders, nearestText } from "../index.node.ts";
import { counted } from "./table.ts";

/**
 * What loaders make of a model: a line of those that take it as it is, and one for each that does not, with the worst of what is new;
 * what the original has too is a limit of the original.
 */
export function loadText(loads: readonly Load[]): readonly string[] {
  const told = loads.map((load) => ({ title: loaders[load.loader].title, said: saidOf(load) }));
  const plain = told.filter(({ said }) => said === null).map(({ title }) => title);
  const lines = plain.length === 0 ? [] : [`By its sizes it loads in ${plain.join(", ")}.`];
  return [...lines, ...told.flatMap(({ title, said }) => (said === null ? [] : [`${title} ${said}`]))];
}

/** Null where nothing is new. */
function saidOf({ findings }: Load): string | null {
  const refusals = findings.filter(({ severity }) => severity === "refused");
  const limits = findings.filter(({ severity, original }) => severity === "limited" && !original);
  const [worst] = [...refusals, ...limits];
  if (worst === undefined) return null;
  const { expected, got } = worst;
  const verdict = refusals.length > 0 ? "refuses it" : `loads it with ${counted(limits.length, "limit")}`;
  const nearest = nearestText(worst);
  const more = refusals.length + limits.length - 1;
  const others = more === 0 ? "" : ` ${counted(more, "more is", "more are")} in --json and --report.`;
  return `${verdict}: expected ${expected}, got ${got}.${nearest === "" ? "" : ` ${nearest}.`}${others}`;
}
