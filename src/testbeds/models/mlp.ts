import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { head, linear, type PictureShape, picture, relu } from "./layers.ts";

export interface MlpConfig {
  readonly picture: PictureShape;
  readonly widths: readonly number[];
  readonly classes: number;
}

/** Linear layers with ReLU between: widths 300 and 100 on 28 x 28 pixels make LeNet-300-100 (LeCun et al. 1998). */
export function mlp({ picture: shape, widths, classes }: MlpConfig): Graph {
  const g = builder("mlp");
  let x = g.op("Flatten", [picture(g, shape)]);
  let inputs = shape[0] * shape[1] * shape[2];
  for (const [i, width] of widths.entries()) {
    x = relu(g, linear(g, `fc${i + 1}`, x, inputs, width));
    inputs = width;
  }
  head(g, `fc${widths.length + 1}`, x, inputs, classes);
  return g.finish();
}
