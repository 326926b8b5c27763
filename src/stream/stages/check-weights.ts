import { EspalierError } from "../../tensor/error.ts";
import { firstNotFinite } from "../../tensor/not-finite.ts";
import { toFloat64 } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

/** Throws `data` with the place of the first NaN or infinity in a tensor. */
export function checkWeights(where: string, tensor: HostTensor): void {
  const at = firstNotFinite(tensor);
  if (at < 0) return;
  let rest = at;
  const place = tensor.shape.toReversed().map((size) => {
    const index = rest % size;
    rest = Math.floor(rest / size);
    return index;
  });
  const message = `expected finite weights, got ${toFloat64(tensor)[at]} at [${place.toReversed().join(", ")}].`;
  throw new EspalierError("data", where, message, "The checkpoint is damaged, or its training diverged.");
}
