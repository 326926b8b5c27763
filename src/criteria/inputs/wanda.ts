import type { Criterion } from "../criterion.ts";
import { product } from "../product.ts";
import { magnitude } from "../weights/magnitude.ts";
import { inputNorm } from "./input-norm.ts";

/** |w| · √E[x²] (Wanda, Eq. 1). The norm is a root mean over tokens, which leaves every order unchanged. */
export function wanda(): Criterion<"inputMeanSquare"> {
  return product(magnitude(1), inputNorm(), "wanda");
}
