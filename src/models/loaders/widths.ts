import type { Alike } from "../../coupling/alike.ts";
import { type Coupling, type Group, unitCount } from "../../coupling/couple.ts";
import type { Shape } from "../../tensor/tensor.ts";
import type { CheckpointModel } from "../checkpoint/checkpoint-model.ts";
import { type Resized, resized } from "../checkpoint/resize.ts";
import { type LoadSizes, loadSizes } from "./sizes.ts";
import { type LoaderName, loaders } from "./table.ts";
import { losesMore } from "./will-load.ts";

/**
 * How many units groups may keep so that loaders take what is left as well as the original: groups of the same sizes in all
 * blocks keep as many. Groups whose sizes no config states are left out.
 */
export function loadableWidths(
  model: CheckpointModel,
  coupling: Coupling,
  names: readonly LoaderName[],
): readonly Alike[] {
  const original = loadSizes(model);
  const loses = losesMore(
    names.flatMap((name) => loaders[name].rules),
    original,
  );
  const classes = new Map<string, { readonly groups: Group[]; readonly steps: ReadonlyMap<string, number> }>();
  for (const group of coupling.groups) {
    if (group.blocked.length > 0) continue;
    const change = resized(model, shapesAt(model, coupling, new Map([[group, group.size - 1]])));
    const steps = change.problems.length > 0 ? new Map<string, number>() : stepsOf(change, original);
    if (steps.size === 0) continue;
    const key = `${group.size} of ${[...steps].sort().join(" ")}`;
    const found = classes.get(key) ?? { groups: [], steps };
    classes.set(key, found);
    found.groups.push(group);
  }
  return [...classes.values()].map(({ groups, steps }) => {
    const size = groups[0]?.size ?? 0;
    const counts: number[] = [];
    for (let count = 1; count <= size; count++) {
      const fields = [...steps].map(
        ([field, step]) => [field, largest(original, field) - step * (size - count)] as const,
      );
      if (count === size || !loses(original.at(new Map(fields)))) counts.push(count);
    }
    return { groups, counts };
  });
}

/** Shapes of the parameters in which units of groups lie, when each keeps so many. */
export function shapesAt(
  model: CheckpointModel,
  coupling: Coupling,
  counts: ReadonlyMap<Group, number>,
): ReadonlyMap<string, Shape> {
  const byLeaf = new Map([...counts].map(([group, count]) => [group.leaf, count]));
  const shapes = new Map<string, Shape>();
  for (const [{ members }] of counts) {
    for (const { parameter } of members) {
      const terms = coupling.axes(parameter);
      const before = model.parameters.get(parameter)?.map(({ value }) => value);
      if (terms === undefined || before === undefined || shapes.has(parameter)) continue;
      shapes.set(
        parameter,
        before.map((n, axis) => {
          const term = terms[axis];
          return term === undefined ? n : coupling.count(term, (leaf) => byLeaf.get(leaf) ?? leaf.size);
        }),
      );
    }
  }
  return shapes;
}

/** How many units of each set a mask keeps, by group. */
export function countsOf(masks: ReadonlyMap<Group, Uint8Array>): ReadonlyMap<Group, number> {
  return new Map(
    [...masks].map(([group, mask]) => [
      group,
      (group.size * mask.reduce((sum, keep) => sum + keep, 0)) / Math.max(1, unitCount(group)),
    ]),
  );
}

/** By how much fields fall where one unit goes. */
function stepsOf({ fields, perBlock }: Resized, original: LoadSizes): ReadonlyMap<string, number> {
  const steps = new Map<string, number>();
  for (const now of [fields, ...perBlock.values()]) {
    for (const [field, value] of now) {
      const step = largest(original, field) - value;
      if (step > 0) steps.set(field, step);
    }
  }
  return steps;
}

function largest({ fields }: LoadSizes, field: string): number {
  return Math.max(...(fields.get(field) ?? [0]));
}
