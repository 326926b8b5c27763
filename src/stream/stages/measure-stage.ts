import type { Matrix } from "../../coupling/matrices.ts";
import { edit } from "../../graph/edit.ts";
import { sameInputs } from "../../stats/taps/same-inputs.ts";
import { type Measurement, type Need, tapMatrices } from "../../stats/taps/tap-matrices.ts";
import type { Flow } from "./flow.ts";
import type { PlacedStage } from "./stage-kinds.ts";
import type { StageMatrix } from "./stage-matrices.ts";

/**
 * Runs a stage that was fed and measures the inputs of its matrices. With `advance` the flow advances in the same run. What
 * cannot be measured is absent.
 */
export async function measureStage(
  flow: Flow,
  placed: PlacedStage,
  wanted: readonly StageMatrix[],
  needs: readonly Need[],
  { advance }: { readonly advance: boolean },
): Promise<ReadonlyMap<Matrix, Measurement>> {
  const { kind, stage } = placed;
  const { facts } = await kind.analysis();
  const draft = edit(kind.graph);
  const groups = sameInputs(wanted.map(({ first }) => first));
  const firsts = groups.map(({ first }) => first);
  const taps = tapMatrices(draft, kind.graph.opsets.get("") ?? 1, facts.types, firsts, needs);
  const outputs = advance ? [...taps.outputs, stage.output.name] : taps.outputs;
  if (outputs.length === 0) return new Map();
  const name = `${needs} of ${firsts.map(({ parameter }) => parameter)}${advance ? ", forward" : ""}`;
  await flow.visit(placed, await kind.session(name, draft.finish(), outputs), { take: taps.add });
  const measured = taps.result();
  const found = new Map<Matrix, Measurement>();
  for (const { matrix, first } of wanted) {
    const own = measured.get(groups.find(({ all }) => all.includes(first))?.first ?? first);
    if (own !== undefined) found.set(matrix, own);
  }
  return found;
}
