import { type Preset, prunable } from "../../allocation/prunable.ts";
import type { Matrix } from "../../coupling/matrices.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Factors } from "../../ops/factoring.ts";
import { type FactorableKernel, factorable, truncatedKernel } from "../../surgery/factorise.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { RankRule } from "../../tensor/linalg/low-rank.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import { directionsOf, nuclearNorm, regularised } from "../../train/objectives/regularisers.ts";
import type { TrainGraphOptions } from "../../train/train-graph.ts";

/** Kernels that are cut to a lower rank again and again while they learn, so that little is lost in the end. */
export interface TrainedRanks {
  readonly factors: Factors;
  /** How much of a kernel a cut keeps; null: kernels are not cut, the penalty works alone. */
  readonly rule: RankRule | null;
  /** Updates from one cut, or push of the penalty, to the next. */
  readonly every: number;
  /** Share of the run before the first. */
  readonly from: number;
  /** Strength of the nuclear norm in the updates after cuts; 0: none. */
  readonly nuclear: number;
  readonly prunable: Preset;
}

/**
 * What a training needs to follow ranks: cuts after updates, and the sub-gradient of the nuclear norm, of what the cut left, in the
 * updates that come next (TRP, Xu et al. 2018, Algorithm 1). Throws `request` where no kernel with a window can be taken apart.
 */
export function trainedRanks(
  plan: TrainedRanks,
  graph: Graph,
  matrices: readonly Matrix[],
  { objective, masks = new Map() }: Pick<TrainGraphOptions, "objective" | "masks">,
): Pick<TrainGraphOptions, "objective" | "feeds" | "follow"> {
  const kernels = windowsOf(graph, prunable(graph, matrices, plan.prunable), plan.factors);
  const names = kernels.map(({ matrix }) => matrix.parameter);
  const still = new Map(kernels.map(({ matrix }) => [directionsOf(matrix.parameter), zeros(matrix.shape)] as const));
  let directions: ReadonlyMap<string, HostTensor> = still;
  const penalty = { strength: plan.nuclear, term: nuclearNorm(names) };
  return {
    ...(plan.nuclear === 0
      ? { objective }
      : { objective: regularised(objective, { "nuclear norm": penalty }), feeds: () => directions }),
    follow: (_, updates) => ({
      masks,
      afterUpdate: async (trainer, { update }) => {
        directions = still;
        if (update < plan.from * updates || update % plan.every !== 0) return;
        const held = await trainer.get(names);
        const cut = new Map<string, HostTensor>();
        const next = new Map<string, HostTensor>();
        for (const kernel of kernels) {
          const { parameter } = kernel.matrix;
          const tensor = held.get(parameter);
          if (tensor === undefined) throw notTrained(parameter);
          const found = truncatedKernel(kernel, tensor, plan.rule ?? { kind: "rank", rank: kernel.fullRank });
          next.set(directionsOf(parameter), found.directions);
          if (plan.rule !== null) cut.set(parameter, found.tensor);
        }
        directions = next;
        await trainer.set(cut);
      },
    }),
  };
}

/** Kernels with more than one position that can be taken apart. */
function windowsOf(graph: Graph, matrices: readonly Matrix[], factors: Factors): readonly FactorableKernel[] {
  const windows = matrices.filter(({ shape, inputs }) => sizeOf(inputs.slice(1).map((axis) => shape[axis] ?? 1)) > 1);
  const { kernels } = factorable(graph, windows, factors);
  if (kernels.length > 0) return kernels;
  const message = "expected at least one kernel with a window that can be taken apart, got none.";
  throw new EspalierError("request", "trained ranks", message, "Choose a network with convolutions.");
}

function zeros(shape: readonly number[]): HostTensor {
  return float32Tensor(shape, new Float32Array(sizeOf(shape)));
}

function notTrained(name: string): EspalierError {
  return new EspalierError("request", `parameter "${name}"`, "expected a parameter that is trained, got another.");
}
