import { EspalierError } from "../../tensor/error.ts";
import { firstNotFinite } from "../../tensor/not-finite.ts";
import { toFloat64 } from "../../tensor/numeric.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";

/** Throws `data` naming the sample when a float tensor holds NaN or an infinity; sample i lies at `positions[i]`. */
export function checkFinite(where: string, name: string, tensor: HostTensor, positions: Int32Array): void {
  const at = firstNotFinite(tensor);
  if (at < 0) return;
  const rowSize = Math.max(1, sizeOf(tensor.shape.slice(1)));
  const row = Math.floor(at / rowSize);
  const value = toFloat64(tensor)[at];
  throw new EspalierError(
    "data",
    where,
    `expected finite numbers in "${name}", got ${value} in sample ${positions[row] ?? row} at element ${at % rowSize}.`,
    "Remove the sample or repair the data.",
  );
}
