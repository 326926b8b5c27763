import { int, ints } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Graph } from "../../graph/graph.ts";
import { conv, head, layerNorm, type PictureShape, parameter, picture, project } from "./layers.ts";

export interface VitConfig {
  readonly picture: PictureShape;
  /** Side of the square patches that become tokens. */
  readonly patch: number;
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  /** Width inside the feed-forward part. */
  readonly hidden: number;
  readonly classes: number;
}

/** The parameter that no role names: one row for each position. */
export const vitPositions = "pos_embed";

/** A vision transformer with norms before its parts and the mean of all tokens in front of the head (Dosovitskiy et al. 2020). */
export function vit({ picture: shape, patch, width, layers, heads, hidden, classes }: VitConfig): Graph {
  const g = builder("vit");
  const [channels, height, breadth] = shape;
  const tokens = Math.floor(height / patch) * Math.floor(breadth / patch);
  const options = { kernel: patch, stride: patch, pad: 0, bias: true };
  const patches = conv(g, "patch_embed.proj", picture(g, shape), [channels, width], options);
  const rows = g.op("Reshape", [patches, g.int64([0, 0, -1])]);
  const sequence = g.op("Transpose", [rows], { perm: ints([0, 2, 1]) });
  let x = g.op("Add", [sequence, parameter(g, vitPositions, [1, tokens, width])]);
  for (let i = 0; i < layers; i++) {
    const name = `blocks.${i}`;
    x = g.op("Add", [x, attention(g, `${name}.attn`, layerNorm(g, `${name}.norm1`, x, width), width, heads)]);
    const inner = project(g, `${name}.mlp.fc1`, layerNorm(g, `${name}.norm2`, x, width), width, hidden);
    x = g.op("Add", [x, project(g, `${name}.mlp.fc2`, g.op("Gelu", [inner]), hidden, width)]);
  }
  const mean = g.op("ReduceMean", [layerNorm(g, "norm", x, width), g.int64([1])], { keepdims: int(0) });
  head(g, "head", mean, width, classes);
  return g.finish();
}

/** x: [batch, tokens, width]. Every head looks at its own share of the width. */
function attention(g: Draft, name: string, x: string, width: number, heads: number): string {
  const size = width / heads;
  const split = g.int64([0, 0, heads, size]);
  const part = (which: string, order: readonly number[]): string => {
    const projected = project(g, `${name}.${which}`, x, width, width);
    return g.op("Transpose", [g.op("Reshape", [projected, split])], { perm: ints(order) });
  };
  const query = part("query", [0, 2, 1, 3]);
  const key = part("key", [0, 2, 3, 1]);
  const value = part("value", [0, 2, 1, 3]);
  const scaled = g.op("Mul", [g.op("MatMul", [query, key]), g.float32([1 / Math.sqrt(size)], [])]);
  const mixed = g.op("MatMul", [g.op("Softmax", [scaled], { axis: int(-1) }), value]);
  const joined = g.op("Reshape", [g.op("Transpose", [mixed], { perm: ints([0, 2, 1, 3]) }), g.int64([0, 0, width])]);
  return project(g, `${name}.proj`, joined, width, width);
}
