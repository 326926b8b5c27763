import type { CheckpointReport } from "../index.node.ts";
import { loadText } from "./load-text.ts";
import { compact, metricCount, metricText, percent, table } from "./table.ts";

/** The report of a checkpoint with zeros in a few lines. */
export function checkpointText(report: CheckpointReport): string {
  const { params, nonzero, pruned, layers, skipped, seconds, peakBytes, resumed } = report;
  const lines = [
    table([
      ["", "before", "after", "left"],
      ["parameters that are not zero", compact(params), compact(nonzero), percent(nonzero, params)],
      [
        "of them in pruned matrices",
        compact(pruned.before),
        compact(pruned.after),
        percent(pruned.after, pruned.before),
      ],
    ]),
    `${layers.length} matrices got zeros; ${compact(report.bytes)}B of weights, as zeros are stored too.`,
  ];
  if (skipped.length > 0) {
    const [first] = skipped;
    lines.push(`${skipped.length} matrices were left as they are: ${first?.name} (${first?.reason}), for one.`);
  }
  if (report.calibration !== null) lines.push(`Measured on ${report.calibration}, behind ${report.inputs} blocks.`);
  const { metric } = report;
  if (metric !== null) {
    const { name, before, after, n } = metric;
    lines.push(
      `${name}: ${metricText(name, before)} before, ${metricText(name, after)} after (${metricCount(name, n)}).`,
    );
  }
  lines.push(...loadText(report.loads));
  if (resumed > 0) lines.push(`${resumed} stages were finished by an earlier run.`);
  const phases = Object.entries(seconds).map(([phase, n]) => `${phase} ${n.toPrecision(3)} s`);
  lines.push(`${phases.join(", ")}${peakBytes === null ? "" : `; at most ${compact(peakBytes)}B of memory`}.`);
  return lines.join("\n");
}
