import { amountText, type CompareReport, type CompareRow } from "../studies/compare.ts";
import { type Curve, curves } from "./charts.ts";
import { figures, metricFigure, share } from "./numbers.ts";
import { fileName, type Html, html, page, section, tableOf } from "./page.ts";

/** What a comparison is judged by: accuracy where there were labels, else agreement, else error. */
interface Judge {
  readonly name: string;
  readonly isShare: boolean;
  of(row: CompareRow): number | null;
}

function judgeOf(rows: readonly CompareRow[]): Judge {
  if (rows.some(({ metric }) => metric !== null)) {
    const name = rows.find(({ metric }) => metric !== null)?.metric?.name ?? "accuracy";
    return { name, isShare: name !== "perplexity", of: ({ metric }) => metric?.after ?? null };
  }
  if (rows.some(({ fidelity }) => fidelity !== null && fidelity.topAgreement !== null)) {
    return { name: "same answer as the original", isShare: true, of: ({ fidelity }) => fidelity?.topAgreement ?? null };
  }
  return {
    name: "relative error of the outputs",
    isShare: false,
    of: ({ fidelity }) => fidelity?.relativeError ?? null,
  };
}

/** A comparison of methods as one HTML page: against the work that is left, and against measured time. */
export function compareHtml(report: CompareReport): string {
  const { rows, device } = report;
  const judge = judgeOf(rows);
  const content: Html[] = [];
  const work = plot(rows, judge, ({ before, after }) => ratio(after?.macs, before?.macs));
  if (work.length > 0) {
    const axes = { x: "multiply-accumulates left", y: judge.name, xShare: true, yShare: judge.isShare };
    content.push(section(`${capital(judge.name)} against work`, curves(work, axes)));
  }
  const time = plot(rows, judge, ({ before, after }) => ratio(after?.latencyMs?.median, before?.latencyMs?.median));
  if (time.length > 0) {
    const axes = { x: "measured time left", y: judge.name, xShare: true, yShare: judge.isShare };
    const note = html`<p class="note">Median of runs in turn with the original, batch ${device.batch}, ${device.threads} threads, ${device.name}.</p>`;
    content.push(section(`${capital(judge.name)} against time`, curves(time, axes), note));
  }
  content.push(section("All figures", compareTable(rows)));
  const failed = rows.filter((row) => row.failed !== null);
  if (failed.length > 0) {
    const lines = failed.map((row) => html`<li>${row.method}, ${amountText(row.amount)}: ${row.failed ?? ""}</li>`);
    content.push(section("What could not be done", html`<ul>${lines}</ul>`));
  }
  const on = report.data === null ? "no data" : report.data;
  return page(`Methods compared on ${fileName(report.model)}`, `seed ${report.seed}, ${on}`, ...content);
}

function ratio(part: number | undefined, whole: number | undefined): number | null {
  return part === undefined || whole === undefined || whole === 0 ? null : part / whole;
}

function capital(text: string): string {
  return text.slice(0, 1).toUpperCase() + text.slice(1);
}

/** One curve for each method, in the order of x. */
function plot(rows: readonly CompareRow[], judge: Judge, x: (row: CompareRow) => number | null): Curve[] {
  const byMethod = new Map<string, [number, number][]>();
  for (const row of rows) {
    const [at, value] = [x(row), judge.of(row)];
    if (at === null || value === null) continue;
    byMethod.set(row.method, [...(byMethod.get(row.method) ?? []), [at, value]]);
  }
  return [...byMethod].map(([name, points]) => ({ name, points: points.sort(([a], [b]) => a - b) }));
}

function compareTable(rows: readonly CompareRow[]): Html {
  return tableOf(
    ["amount", "method", "MACs left", "parameters left", "time left", "same answer", "relative error", "metric"],
    rows.map((row) => [
      amountText(row.amount),
      row.method,
      share(row.after?.macs, row.before?.macs),
      share(row.after?.params, row.before?.params),
      share(row.after?.latencyMs?.median, row.before?.latencyMs?.median),
      share(row.fidelity?.topAgreement),
      figures(row.fidelity?.relativeError),
      row.metric === null ? share(null) : metricFigure(row.metric, row.metric.after),
    ]),
  );
}
