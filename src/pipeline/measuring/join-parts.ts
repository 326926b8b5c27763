import type { LayerReport, Report } from "./report.ts";

/** What each of several prunings, one after the other, says of itself. */
export type ReportPart = Pick<
  Report,
  "method" | "layers" | "law" | "nearTies" | "blocked" | "training" | "seconds" | "advice"
>;

/** What they say together: of a layer what it was at first and is at last, the worst of the laws, and the sum of all times. */
export function joinParts(parts: readonly ReportPart[]): ReportPart {
  const layers = new Map<string, LayerReport>();
  const seconds = new Map<string, number>();
  let law: Report["law"] = null;
  for (const part of parts) {
    for (const layer of part.layers) {
      layers.set(layer.name, { ...layer, before: layers.get(layer.name)?.before ?? layer.before });
    }
    for (const [phase, time] of Object.entries(part.seconds)) seconds.set(phase, (seconds.get(phase) ?? 0) + time);
    if (part.law !== null && (law === null || part.law.relative > law.relative)) law = part.law;
  }
  return {
    method: parts.map(({ method }) => method).join(", then "),
    layers: [...layers.values()],
    law,
    nearTies: parts.reduce((sum, part) => sum + part.nearTies, 0),
    blocked: parts.at(-1)?.blocked ?? [],
    training: parts.flatMap(({ training }) => training),
    seconds: Object.fromEntries(seconds),
    advice: [...new Set(parts.flatMap(({ advice }) => advice))],
  };
}
