import type { Feeds, ValueInfo } from "../graph/graph.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { formatShape } from "../tensor/tensor.ts";
import type { NamedTensors } from "./engine.ts";

/** The feeds in the order of the inputs; throws `data` for missing or unknown names and `shape` for what does not fit. */
export function checkFeeds(inputs: readonly ValueInfo[], feeds: Feeds): NamedTensors {
  const known = new Set(inputs.map((input) => input.name));
  for (const name of feeds.keys()) {
    if (known.has(name)) continue;
    const hint = didYouMean(name, known);
    throw new EspalierError("data", name, `expected one of the inputs ${list(known)}, got "${name}".`, hint);
  }
  return inputs.map((input) => {
    const tensor = feeds.get(input.name);
    if (tensor === undefined) {
      throw new EspalierError("data", input.name, `expected a tensor for every input, got ${list(feeds.keys())}.`);
    }
    const { dims } = input;
    const fits =
      dims === undefined ||
      (dims.length === tensor.shape.length &&
        dims.every((dim, i) => typeof dim !== "number" || dim === tensor.shape[i]));
    if (!fits || (input.dtype !== null && input.dtype !== tensor.dtype)) {
      throw new EspalierError(
        "shape",
        input.name,
        `expected ${input.dtype ?? "any type"} ${formatShape(dims ?? [])}, got ${tensor.dtype} ${formatShape(tensor.shape)}.`,
      );
    }
    return [input.name, tensor];
  });
}

/** The outputs asked for, all when none are named; throws `request` for a name that the session does not give. */
export function checkFetch(outputs: readonly string[], fetch: readonly string[] | undefined): readonly string[] {
  if (fetch === undefined) return outputs;
  const known = new Set(outputs);
  for (const name of fetch) {
    if (known.has(name)) continue;
    const hint = didYouMean(name, known);
    throw new EspalierError("request", name, `expected one of the outputs ${list(known)}, got "${name}".`, hint);
  }
  return fetch;
}

function list(names: Iterable<string>): string {
  const all = [...names];
  return all.length > 5 ? `${all.slice(0, 5).join(", ")} and ${all.length - 5} more` : all.join(", ") || "none";
}
