import type { TrainReport } from "../recipes/train-recipe.ts";
import { figures, metricFigure } from "./numbers.ts";
import { figure, fileName, type Html, html, page, section, tableOf } from "./page.ts";
import { trainingPart } from "./training-part.ts";

/** The report of a training as one HTML page with its curves; it needs no network and runs no script. */
export function trainHtml(report: TrainReport): string {
  const { model, objective, seed, device, command, training, metric, versions } = report;
  const under = `${objective}, seed ${seed}, on ${device.name} with ${device.threads} threads${command === "" ? "" : `, by ${command}`}`;
  const [first, last] = [training.points[0]?.values["loss"], training.points.at(-1)?.values["loss"]];
  const cards: Html[] = [figure(figures(last), `loss, ${figures(first)} at first`)];
  if (metric !== null)
    cards.push(
      figure(metricFigure(metric, metric.after), `${metric.name} after, ${metricFigure(metric, metric.before)} before`),
    );
  const rows = Object.entries(versions);
  return page(
    `${fileName(model)}, trained`,
    under,
    html`<div class="figures">${cards}</div>`,
    section("Training", trainingPart(training)),
    section("How it was made", tableOf(["what", "value"], [["model", model], ...rows])),
  );
}
