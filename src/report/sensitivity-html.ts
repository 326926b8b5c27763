import type { SensitivityPoint, SensitivityReport } from "../studies/sensitivity.ts";
import { curves } from "./charts.ts";
import { figures, share } from "./numbers.ts";
import { fileName, html, page, section, tableOf } from "./page.ts";

/** Curves that get a colour and a name; the others are grey. */
const NAMED = 8;

/** What each group costs at each sparsity, as one HTML page; the groups that hurt most come first. */
export function sensitivityHtml(report: SensitivityReport): string {
  const groups = new Map<string, SensitivityPoint[]>();
  for (const point of report.points) groups.set(point.group, [...(groups.get(point.group) ?? []), point]);
  const worst = (points: readonly SensitivityPoint[]): number =>
    Math.max(...points.map(({ fidelity }) => fidelity.relativeError));
  const ordered = [...groups].sort(([, a], [, b]) => worst(b) - worst(a));
  const lines = ordered.map(([name, points], i) => ({
    name,
    points: points.map((p): [number, number] => [p.sparsity, p.fidelity.relativeError]).sort(([a], [b]) => a - b),
    faint: i >= NAMED,
  }));
  const axes = { x: "units of the group removed", y: "relative error of the outputs", xShare: true };
  const rest = ordered.length - NAMED;
  const note =
    rest > 0 ? html`<p class="note">The ${NAMED} most sensitive groups have colours; the others are grey.</p>` : html``;
  const rows = ordered.flatMap(([name, points]) =>
    points.map((p) => [
      name,
      share(p.sparsity),
      `${p.kept} of ${p.units}`,
      share(p.macs),
      figures(p.fidelity.relativeError),
      figures(p.fidelity.kl),
      share(p.fidelity.topAgreement),
    ]),
  );
  const head = ["group", "removed", "kept", "MACs left", "relative error", "KL, nats", "same answer"];
  return page(
    `What each group of ${fileName(report.model)} costs`,
    `each group pruned alone by ${report.criterion}, on ${report.data}`,
    section("Error by sparsity", curves(lines, axes), note),
    section("All figures", tableOf(head, rows)),
  );
}
