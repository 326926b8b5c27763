import { int, ints, string } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { head, type PictureShape, parameter, picture } from "./layers.ts";

export interface LstmConfig {
  readonly picture: PictureShape;
  readonly hidden: number;
  readonly layers: number;
  readonly classes: number;
}

/** Reads a picture row by row from the top, and classifies by its state after the last row. */
export function lstm({ picture: shape, hidden, layers, classes }: LstmConfig): Graph {
  const g = builder("lstm");
  const [channels, height, width] = shape;
  // [batch, channels, rows, columns] → [rows, batch, channels · columns]
  const turned = g.op("Transpose", [picture(g, shape)], { perm: ints([2, 0, 1, 3]) });
  let x = g.op("Reshape", [turned, g.int64([height, -1, channels * width])]);
  let inputs = channels * width;
  for (let layer = 0; layer < layers; layer++) {
    const name = `lstm.${layer}`;
    const [y, last] = [g.fresh(`${name}.sequence`), g.fresh(`${name}.last`)];
    const operands = [
      x,
      parameter(g, `${name}.weight_ih`, [1, 4 * hidden, inputs]),
      parameter(g, `${name}.weight_hh`, [1, 4 * hidden, hidden]),
      parameter(g, `${name}.bias`, [1, 8 * hidden]),
    ];
    const attributes = { hidden_size: int(hidden), direction: string("forward") };
    const top = layer === layers - 1;
    g.op("LSTM", operands, attributes, top ? ["", last] : [y]);
    x = g.op("Squeeze", [top ? last : y, g.int64([top ? 0 : 1])]);
    inputs = hidden;
  }
  head(g, "fc", x, hidden, classes);
  return g.finish();
}
