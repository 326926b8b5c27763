import type { CheckpointReport } from "../index.node.ts";
import { loadText } from "./load-text.ts";
import { compact, counted, metricCount, metricText, percent, table } from "./table.ts";

/** The report of a checkpoint that was pruned stage by stage in a few lines. */
export function checkpointText(report: CheckpointReport): string {
  const { params, nonzero, pruned, layers, skipped, seconds, peakBytes, resumed, before, parts, law } = report;
  const row = (name: string, a: number, b: number, unit = ""): string[] => [
    name,
    `${compact(a)}${unit}`,
    `${compact(b)}${unit}`,
    percent(b, a),
  ];
  const lines = [
    table([
      ["", "before", "after", "left"],
      ...(parts.length === 0
        ? []
        : [row("parameters", before.params, params), row("bytes", before.bytes, report.bytes, "B")]),
      ...(layers.length === 0 && parts.length > 0
        ? []
        : [
            row("parameters that are not zero", before.params, nonzero),
            row("of them in pruned matrices", pruned.before, pruned.after),
          ]),
    ]),
    ...parts.flatMap((each) => partsText(each)),
    ...(layers.length === 0 && parts.length > 0
      ? []
      : [`${layers.length} matrices got zeros; ${compact(report.bytes)}B of weights, as zeros are stored too.`]),
  ];
  if (law !== null) {
    const difference = law.relative === 0 ? "0" : law.relative.toExponential(1);
    lines.push(`Removed equals masked within ${difference} (allowed ${law.tolerance}).`);
  }
  if (skipped.length > 0) {
    const [first] = skipped;
    lines.push(`${skipped.length} matrices were left as they are: ${first?.name} (${first?.reason}), for one.`);
  }
  if (report.calibration !== null) {
    const behind = report.inputs === null ? "" : `, behind ${report.inputs} blocks`;
    lines.push(`Measured on ${report.calibration}${behind}.`);
  }
  const { metric } = report;
  if (metric !== null) {
    const { name, before, after, n } = metric;
    lines.push(
      `${name}: ${metricText(name, before)} before, ${metricText(name, after)} after (${metricCount(name, n)}).`,
    );
  }
  lines.push(...loadText(report.loads), ...report.advice);
  if (resumed > 0) lines.push(`${counted(resumed, "stage was", "stages were")} finished by an earlier run.`);
  const phases = Object.entries(seconds).map(([phase, n]) => `${phase} ${n.toPrecision(3)} s`);
  lines.push(`${phases.join(", ")}${peakBytes === null ? "" : `; at most ${compact(peakBytes)}B of memory`}.`);
  return lines.join("\n");
}

/** Numbers that are told of one set; the report as JSON has them all. */
const listed = 20;

/** Which parts of a set went. */
function partsText({ name, what, before, after, gone }: CheckpointReport["parts"][number]): readonly string[] {
  if (gone.length === 0) return [];
  const more = gone.length > listed ? ", .." : "";
  return [`${before - after} of ${before} ${what} of ${name} went: ${gone.slice(0, listed).join(", ")}${more}.`];
}
