import { amountBars } from "./charts.ts";
import { figures } from "./numbers.ts";
import { type Html, html, raw } from "./page.ts";

/** Where the time of a run went. */
export function secondsPart(seconds: Readonly<Record<string, number>>): Html {
  const phases = Object.entries(seconds);
  if (phases.length === 0) return raw("");
  const total = phases.reduce((sum, [, time]) => sum + time, 0);
  const rows = phases.map(([name, value]) => ({ name, value, text: `${figures(value)} s` }));
  return html`<h3>Seconds by phase</h3>${amountBars(rows, "seconds")}<p class="note">${figures(total)} s in all phases together.</p>`;
}
