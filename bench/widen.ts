import type { Graph } from "../src/graph/graph.ts";
import { analyse } from "../src/models/analysis.ts";
import type { Runtime } from "../src/runtime/runtime.ts";
import { byteLengthOf } from "../src/tensor/dtype.ts";
import { type HostTensor, load, refOf, sizeOf } from "../src/tensor/tensor.ts";

/**
 * The same function with units of zeros in every group that `chosen` names, up to a multiple of `step`: kernels that work in
 * blocks of channels run it faster than the narrower graph. Only groups that fill whole axes are widened.
 */
export async function widened(runtime: Runtime, graph: Graph, step: number): Promise<Graph> {
  const { coupling } = await analyse(graph, runtime);
  const added = new Map<string, { axis: number; more: number }[]>();
  for (const { blocked, size, members } of coupling.groups) {
    const more = Math.ceil(size / step) * step - size;
    const simple = members.every(({ placement }) => {
      const { stretches, across } = placement();
      return stretches.length === 1 && stretches[0]?.units.length === size && across.length === 0;
    });
    if (more === 0 || blocked.length > 0 || !simple) continue;
    for (const { parameter, axis } of members) {
      added.set(parameter, [...(added.get(parameter) ?? []), { axis, more }]);
    }
  }
  const constants = new Map(graph.constants);
  for (const [name, axes] of added) {
    const ref = graph.constants.get(name);
    if (ref === undefined) continue;
    let tensor = await load(ref);
    for (const { axis, more } of axes) tensor = longer(tensor, axis, more);
    constants.set(name, refOf(tensor));
  }
  return { ...graph, constants, valueInfo: new Map() };
}

/** Zeros behind the last position of an axis. */
function longer({ dtype, shape, bytes }: HostTensor, axis: number, more: number): HostTensor {
  const size = shape[axis] ?? 1;
  const inner = byteLengthOf(dtype, sizeOf(shape.slice(axis + 1)));
  const outer = sizeOf(shape.slice(0, axis));
  const out = new Uint8Array(outer * (size + more) * inner);
  for (let o = 0; o < outer; o++) {
    out.set(bytes.subarray(o * size * inner, (o + 1) * size * inner), o * (size + more) * inner);
  }
  return { dtype, shape: shape.map((n, i) => (i === axis ? n + more : n)), bytes: out };
}
