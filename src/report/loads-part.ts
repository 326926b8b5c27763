import { loaders } from "../models/loaders/table.ts";
import { type Load, nearestText } from "../models/loaders/will-load.ts";
import { type Html, html, tableOf } from "./page.ts";

/** What programs make of the sizes of a model, and why. */
export function loadsPart(loads: readonly Load[]): Html {
  const rows = loads.flatMap(({ loader, version, verdict, findings }) => {
    const name = `${loaders[loader].title} ${version}`;
    if (findings.length === 0) return [[name, verdict, ""]];
    return findings.map((finding, i) => [i === 0 ? name : "", finding.severity, sentences(finding)]);
  });
  return html`${tableOf(["program", "its sizes", "why"], rows)}<p class="note">By the rules of these versions; nothing here was tried.</p>`;
}

function sentences(finding: Load["findings"][number]): string {
  const { expected, got, because, original } = finding;
  const nearest = nearestText(finding);
  const more = [nearest === "" ? "" : ` ${nearest}.`, original ? " The original has the same." : ""].join("");
  return `Expected ${expected}, got ${got}. ${because}${more}`;
}
