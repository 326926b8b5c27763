import { EspalierError } from "../tensor/error.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import { discard } from "./discard.ts";
import type { NamedTensors } from "./engine.ts";

/**
 * Results where they are wanted: copied over the tensors of `into` unless they are there already, their own memory given back.
 * Throws `shape` for one that does not fit.
 */
export function putInto(
  outputs: NamedTensors,
  into: NamedTensors,
  isThere: (name: string, place: HostTensor) => boolean = () => false,
): NamedTensors {
  if (into.length === 0) return outputs;
  const places = new Map(into);
  return outputs.map(([name, made]) => {
    const place = places.get(name);
    if (place === undefined) return [name, made];
    if (place.dtype !== made.dtype || place.bytes.length !== made.bytes.length) {
      const got = `memory of ${place.bytes.length} bytes of ${place.dtype}`;
      throw new EspalierError("shape", name, `expected ${made.bytes.length} bytes of ${made.dtype}, got ${got}.`);
    }
    if (!isThere(name, place)) place.bytes.set(made.bytes);
    discard(made);
    return [name, { ...made, bytes: place.bytes }];
  });
}
