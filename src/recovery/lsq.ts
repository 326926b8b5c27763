import { type FitLayersOptions, fitLayers } from "./fit-layers.ts";
import type { Recovery } from "./recovery.ts";
import { refit } from "./refit.ts";

export interface LeastSquaresOptions extends Pick<FitLayersOptions, "layers" | "positionsPerColumn"> {
  /** Pull towards the present weights, as a fraction of the mean variance of the inputs. */
  readonly damping: number;
}

/**
 * Refits each matrix by least squares, in the order of data flow, so that what it gives from its really pruned inputs is
 * nearest to what the original gave; where its output joins a sum, the sum is the target (OBSPA, SPA section D, with the
 * exact joint optimum). Weights that are zero stay zero. Of a network that was pruned before, the first original is the target. Needs
 * calibration inputs, no labels.
 */
export function leastSquares(options: Partial<LeastSquaresOptions> = {}): Recovery {
  const { layers = "behind", damping = 1e-3, positionsPerColumn = 128 } = options;
  return {
    id: "lsq",
    needsData: true,
    apply: (context) =>
      fitLayers(context, {
        ...{ id: "lsq", layers, positionsPerColumn },
        fit: (problem) => refit(problem, damping),
      }),
  };
}
