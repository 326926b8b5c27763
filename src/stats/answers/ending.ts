import type { Graph, Node, TensorType } from "../../graph/graph.ts";
import { useDef } from "../../graph/uses.ts";
import { channelAffine, type Numbers, otherAddend } from "../../ops/linear.ts";

/**
 * Where the output y of a matrix ends: e = scale · y + shift (+ bypass), for each channel. With a bypass, e is the sum
 * that the rest of the network sees, and what the matrix should give is the original's e minus the present bypass.
 */
export interface Ending {
  readonly value: string;
  readonly bypass: string | null;
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** Follows the output of a matrix through scales and shifts to the sum that it flows into, or to itself. */
export function endingOf(
  graph: Graph,
  output: string,
  axis: number,
  channels: number,
  types: ReadonlyMap<string, TensorType>,
  constant: (name: string) => Numbers | undefined,
): Ending {
  const uses = useDef(graph);
  const scale = new Float64Array(channels).fill(1);
  const shift = new Float64Array(channels);
  const itself: Ending = { value: output, bypass: null, scale: scale.slice(), shift: shift.slice() };
  const rank = types.get(output)?.shape.length ?? 0;
  let value = output;
  for (;;) {
    const readers = uses.consumers(value);
    const node: Node | undefined = readers[0]?.node;
    if (readers.length !== 1 || node === undefined || uses.isOutput(value)) return itself;
    const affine = channelAffine(node, value, { rank, axis, channels }, constant);
    const end = node.outputs[0] ?? "";
    if (affine === null) {
      const bypass = otherAddend(node, value);
      const shape = types.get(value)?.shape;
      const same = (name: string): boolean => types.get(name)?.shape.every((n, i) => n === shape?.[i]) === true;
      if (bypass === null || !same(bypass) || !same(end)) return itself;
      return { value: end, bypass, scale, shift };
    }
    for (let c = 0; c < channels; c++) {
      scale[c] = (scale[c] ?? 0) * (affine.scale[c] ?? 0);
      shift[c] = (shift[c] ?? 0) * (affine.scale[c] ?? 0) + (affine.shift[c] ?? 0);
    }
    value = end;
  }
}
