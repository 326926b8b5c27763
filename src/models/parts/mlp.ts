import type { Site } from "../checkpoint/site.ts";
import type { Size } from "../checkpoint/size.ts";
import { activate } from "./activation.ts";
import { linear } from "./linear.ts";

export interface MlpShape {
  readonly width: Size;
  readonly inner: Size;
  readonly activation: string;
  readonly bias?: boolean;
}

/** down(activation(gate x) · up x). Parameters: `gate_proj`, `up_proj`, `down_proj`, unless named otherwise. */
export function gatedMlp(
  site: Site,
  x: string,
  { width, inner, activation, bias = false }: MlpShape,
  names: { readonly gate: string; readonly up: string; readonly down: string } = gatedNames,
): string {
  const to = { inputs: width, outputs: inner, bias };
  const gate = activate(site, linear(site.at(names.gate), x, to), activation);
  const product = site.draft.op("Mul", [gate, linear(site.at(names.up), x, to)]);
  return linear(site.at(names.down), product, { inputs: inner, outputs: width, bias });
}

const gatedNames = { gate: "gate_proj", up: "up_proj", down: "down_proj" };
