import type { TrainingRecord } from "../train/training-record.ts";
import { curves } from "./charts.ts";
import { figures, share, short } from "./numbers.ts";
import { type Html, html, tableOf } from "./page.ts";

/** How the loss and its parts went, and what that took. */
export function trainingPart(training: TrainingRecord): Html {
  const { points, updates, epochs, samples, seconds, trained, trainable, forwardMacs, backwardMacs, data } = training;
  const names = [...new Set(points.flatMap(({ values }) => Object.keys(values)))];
  const lines = names.map((name) => ({
    name,
    points: points.flatMap(({ update, values }): [number, number][] => {
      const value = values[name];
      return value === undefined ? [] : [[update, value]];
    }),
  }));
  const rows = [
    ["trained on", data],
    ["updates", `${updates}`],
    ["epochs", figures(epochs)],
    ["samples fed", short(samples)],
    ["numbers trained", `${short(trained)}, ${share(trained, trainable)} of those that can be`],
    ["multiply-accumulates, forward and backward", `${short(forwardMacs)}, ${short(backwardMacs)}`],
    ["seconds", figures(seconds)],
  ];
  return html`${curves(lines, { x: "updates", y: "loss" })}${tableOf(["what", "value"], rows)}`;
}
