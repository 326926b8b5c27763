import type { Coupling, Group } from "../../coupling/couple.ts";
import type { Shape } from "../../tensor/tensor.ts";
import type { CheckpointModel } from "./checkpoint-model.ts";
import { resized } from "./resize.ts";

/**
 * Groups whose units cannot go because no config.json could state the sizes that are left, each with the reason: features
 * of a value in a head, say. `coupling` is that of the whole model, or of one of its stages.
 */
export function inexpressible(model: CheckpointModel, coupling: Coupling): ReadonlyMap<Group, string> {
  const found = new Map<Group, string>();
  for (const group of coupling.groups) {
    if (group.blocked.length > 0) continue;
    const shapes = new Map<string, Shape>();
    for (const { parameter, axis } of group.members) {
      const term = coupling.axes(parameter)?.[axis];
      const shape = shapes.get(parameter) ?? model.parameters.get(parameter)?.map(({ value }) => value);
      if (term === undefined || shape === undefined) continue;
      const left = coupling.count(term, (leaf) => (leaf === group.leaf ? leaf.size - 1 : leaf.size));
      shapes.set(
        parameter,
        shape.map((n, i) => (i === axis ? left : n)),
      );
    }
    const [problem] = resized(model, shapes).problems;
    if (problem !== undefined) found.set(group, problem);
  }
  return found;
}
