import type { Report } from "../index.node.ts";
import { loadText } from "./load-text.ts";
import { compact, counted, metricCount, metricText, percent, table } from "./table.ts";

/** What became of the parts of each kind. */
const outcomes: Readonly<Record<Report["layers"][number]["kind"], readonly [one: string, many: string, what: string]>> =
  {
    units: ["group", "groups", "became smaller"],
    branches: ["residual branch", "residual branches", "went"],
    weights: ["weight matrix", "weight matrices", "got zeros"],
    ranks: ["layer", "layers", "came apart into two"],
    parts: ["set of parts", "sets of parts", "lost some"],
  };

/** The report in a few lines. */
export function reportText({
  before,
  after,
  law,
  fidelity,
  metric,
  layers,
  training,
  advice,
  device,
  loads = [],
}: Report): string {
  const row = (name: string, a: number | null, b: number | null, unit = ""): string[] =>
    a === null || b === null
      ? [name, "-", "-", "-"]
      : [name, `${compact(a)}${unit}`, `${compact(b)}${unit}`, percent(b, a)];
  const ms = (n: number | undefined): string =>
    n === undefined ? "-" : n < 1000 ? n.toPrecision(3) : Math.round(n).toString();
  const [a, b] = [before.latencyMs?.median, after.latencyMs?.median];
  const lines = [
    table([
      ["", "before", "after", "left"],
      row("parameters", before.params, after.params),
      ...(after.nonzero < after.params ? [row("of them not zero", before.nonzero, after.nonzero)] : []),
      row("MACs", before.macs, after.macs),
      row("bytes", before.bytes, after.bytes),
      row("gzip bytes", before.gzipBytes, after.gzipBytes),
      [
        `ms (${device.name}, batch ${device.batch}, ${counted(device.threads, "thread")})`,
        ms(a),
        ms(b),
        percent(b ?? 0, a ?? 0),
      ],
    ]),
    ...Object.entries(outcomes).flatMap(([kind, [one, many, what]]) => {
      const own = layers.filter((layer) => layer.kind === kind);
      const touched = own.filter(({ before: x, after: y }) => y < x).length;
      return own.length === 0 ? [] : [`${touched} of ${counted(own.length, one, many)} ${what}.`];
    }),
  ];
  if (law !== null) {
    const difference = law.relative === 0 ? "0" : law.relative.toExponential(1);
    lines.push(`Removed equals masked within ${difference} (allowed ${law.tolerance}).`);
  }
  if (fidelity !== null) {
    const top = fidelity.topAgreement === null ? "" : `same answer on ${percent(fidelity.topAgreement, 1)}, `;
    lines.push(
      `Fidelity on ${counted(fidelity.samples, "input")}: ${top}relative error ${fidelity.relativeError.toPrecision(3)}.`,
    );
  }
  if (metric !== null) {
    lines.push(
      `${metric.name}: ${metricText(metric.name, metric.before)} before, ${metricText(metric.name, metric.after)} after (${metricCount(metric.name, metric.n)}).`,
    );
  }
  for (const { name, updates, epochs, seconds, points } of training) {
    const [first, last] = [points[0]?.values["loss"], points.at(-1)?.values["loss"]];
    const fell =
      first === undefined || last === undefined ? "" : `, loss ${first.toPrecision(3)} to ${last.toPrecision(3)}`;
    lines.push(
      `${name}: ${counted(updates, "update")} (${epochs.toPrecision(3)} epochs) in ${seconds.toPrecision(3)} s${fell}.`,
    );
  }
  return [...lines, ...loadText(loads), ...advice].join("\n");
}
