import type { WeightAllocator } from "../../plans/allocator.ts";
import { outputDistortion } from "../../search/output-distortion.ts";
import { type Choice, multipleChoice } from "../../solve/multiple-choice.ts";
import { EspalierError } from "../../tensor/error.ts";
import { countOf } from "../../tensor/selection/select.ts";
import { sizeOf } from "../../tensor/tensor.ts";
import { needsData } from "../statistics.ts";

export interface RateDistortionOptions {
  /** Shares that are tried in each layer are multiples of 1 / steps. */
  readonly steps: number;
  /** How the samples join. */
  readonly over: "mean" | "worst";
}

/**
 * Shares of layers such that the sum of their output distortions, each layer pruned alone, is least: measured curves made
 * monotone, then a multiple-choice knapsack over the weights that stay.
 */
export function rateDistortion({ steps, over }: RateDistortionOptions): WeightAllocator {
  return {
    id: "rate-distortion",
    needsData: true,
    table: async ({ runtime, analysis, matrices, masked, sparsity, calibration, batchSize, job }) => {
      if (calibration === null) throw needsData("rate-distortion");
      const byName = new Map(matrices.map((matrix) => [matrix.parameter, matrix]));
      const strengths = Array.from({ length: steps }, (_, i) => (i + 1) / steps);
      const variant = (name: string, strength: number) => {
        const matrix = byName.get(name);
        if (matrix === undefined) throw new EspalierError("request", name, "expected a weight matrix, got none.");
        return masked(matrix, strength);
      };
      const curves = await outputDistortion(
        runtime,
        analysis.graph,
        [...byName.keys()],
        strengths,
        variant,
        calibration,
        { ...job, batchSize, over },
      );
      const sizes = [...byName.values()].map(({ shape }) => sizeOf(shape));
      const total = sizes.reduce((sum, n) => sum + n, 0);
      const choices = curves.map(({ points }, l): Choice[] => {
        const size = sizes[l] ?? 0;
        let worst = 0;
        const rising = points.map(({ strength, distortion }) => {
          worst = Math.max(worst, distortion);
          return { cost: size - countOf(strength, size), loss: worst };
        });
        return [{ cost: size, loss: 0 }, ...rising];
      });
      const budget = total - countOf(sparsity, total);
      const { picks, cost } = multipleChoice(choices, budget);
      const table = new Map<string, number>();
      let spare = budget - cost;
      for (const [l, { parameter }] of curves.entries()) {
        const size = sizes[l] ?? 0;
        const removed = size - (choices[l]?.[picks[l] ?? 0]?.cost ?? size);
        // What the grid leaves over goes to the layers that lose something, so that the asked share is met exactly.
        const back = Math.min(spare, removed);
        spare -= back;
        table.set(parameter, (removed - back) / size);
      }
      return table;
    },
  };
}
