import type { Matrix } from "../../coupling/matrices.ts";
import type { PlacedStage } from "./stage-kinds.ts";

/** A trained matrix of a stage. */
export interface StageMatrix {
  /** As the first stage of the kind has it, but for its parameter, which is this stage's. */
  readonly matrix: Matrix;
  /** The same in the first stage. */
  readonly first: Matrix;
}

/** The trained matrices of a stage, each parameter once, in the order in which they compute. */
export async function stageMatrices({ kind, tensors }: PlacedStage): Promise<readonly StageMatrix[]> {
  const own = new Map(kind.tensors.map((name, i) => [name, tensors[i] ?? name]));
  const { matrices } = await kind.analysis();
  const seen = new Set<string>();
  return matrices.flatMap((first) => {
    const parameter = own.get(first.parameter);
    if (parameter === undefined || seen.has(parameter)) return [];
    seen.add(parameter);
    return [{ first, matrix: { ...first, parameter } }];
  });
}
