import type { Criterion } from "../criterion.ts";
import { summed } from "./per-weight.ts";

/** |w · ∂R/∂w|, how much flows through a weight (SynFlow, Tanaka et al. 2020, Eq. 2). Needs no data. */
export function synflow(): Criterion<"synapticFlow"> {
  return summed("synflow", "synapticFlow", (_, flow) => flow);
}
