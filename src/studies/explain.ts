import { sizesAt } from "../cost/sizes-at.ts";
import { type Group, unitCount } from "../coupling/couple.ts";
import { headsOf } from "../coupling/heads.ts";
import type { Node } from "../graph/graph.ts";
import type { Analysis } from "../models/analysis.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";

/** One group that a name belongs to. */
export interface ExplainedGroup {
  readonly id: string;
  readonly units: number;
  /** Sets in which they are chosen apart, as many in each: the groups of a grouped convolution, say. */
  readonly sets: number;
  /** What the units are to an attention; null where they are no heads. */
  readonly heads: "heads" | "query heads" | null;
  /** Why it stays whole; empty where units can be removed. */
  readonly blocked: readonly string[];
  /** Everything that loses positions when a unit goes. */
  readonly members: readonly { readonly parameter: string; readonly axis: number; readonly role: string }[];
  /** Parameters and multiply-accumulates of the whole model that one unit takes with it, as a mean over the units. */
  readonly paramsPerUnit: number;
  readonly macsPerUnit: number;
}

export interface Explanation {
  readonly name: string;
  readonly kind: "parameter" | "node" | "value" | "group";
  /** Parameters that the question is about. */
  readonly parameters: readonly { readonly name: string; readonly shape: readonly number[] }[];
  readonly groups: readonly ExplainedGroup[];
  /** Axes of these parameters that belong to no group. */
  readonly alone: readonly { readonly parameter: string; readonly axis: number; readonly size: number }[];
}

/** Which groups a node, value, parameter or group belongs to, what goes with it, and why not. Throws `request`. */
export function explain(analysis: Analysis, name: string): Explanation {
  const { graph, coupling } = analysis;
  const group = coupling.groups.find(({ id }) => id === name);
  const parameter = graph.constants.get(name);
  if (parameter === undefined && group !== undefined) return explanation(analysis, name, "group", [], [group]);
  const node = graph.nodes.find((candidate) => candidate.name === name);
  const maker = node ?? graph.nodes.find(({ outputs }) => outputs.includes(name));
  const kind = parameter !== undefined ? "parameter" : node !== undefined ? "node" : "value";
  if (parameter === undefined && maker === undefined) throw unknown(analysis, name);
  const names = parameter !== undefined ? [name] : parametersOf(analysis, maker);
  const members = coupling.groups.filter((candidate) => candidate.members.some((m) => names.includes(m.parameter)));
  if (parameter !== undefined || names.length > 0) return explanation(analysis, name, kind, names, members);
  // A node without parameters: the groups whose units its outputs carry.
  const leaves = new Set(
    (maker?.outputs ?? []).flatMap((output) =>
      (coupling.axes(output) ?? []).flatMap((axis) => coupling.occurrences(axis).map(({ leaf }) => leaf)),
    ),
  );
  return explanation(
    analysis,
    name,
    kind,
    [],
    coupling.groups.filter(({ leaf }) => leaves.has(leaf)),
  );
}

function parametersOf({ graph }: Analysis, node: Node | undefined): string[] {
  return (node?.inputs ?? []).filter((input) => (graph.constants.get(input)?.shape.length ?? 0) > 0);
}

function unknown({ graph, coupling }: Analysis, name: string): EspalierError {
  const names = [
    ...graph.constants.keys(),
    ...graph.nodes.map((node) => node.name),
    ...graph.nodes.flatMap(({ outputs }) => outputs),
    ...coupling.groups.map(({ id }) => id),
  ];
  const hint = didYouMean(name, names) || "Run espalier inspect to see the names.";
  return new EspalierError("request", name, "expected the name of a node, a value, a parameter or a group.", hint);
}

function explanation(
  analysis: Analysis,
  name: string,
  kind: Explanation["kind"],
  names: readonly string[],
  groups: readonly Group[],
): Explanation {
  const { graph, coupling, cost } = analysis;
  const full = cost.total();
  const { heads, queryHeads } = headsOf(coupling);
  const covered = new Set(groups.flatMap(({ members }) => members.map((m) => `${m.axis} ${m.parameter}`)));
  return {
    name,
    kind,
    parameters: names.map((each) => ({ name: each, shape: graph.constants.get(each)?.shape ?? [] })),
    groups: groups.map((group) => {
      const left = cost.total(sizesAt(coupling, new Map([[group, Math.max(1, group.size - 1)]])));
      return {
        id: group.id,
        units: unitCount(group),
        sets: group.sets,
        heads: heads.has(group) ? "heads" : queryHeads.has(group) ? "query heads" : null,
        blocked: group.blocked,
        members: group.members.map(({ parameter, axis, role }) => ({ parameter, axis, role })),
        paramsPerUnit: (full.params - left.params) / group.sets,
        macsPerUnit: (full.macs - left.macs) / group.sets,
      };
    }),
    alone: names.flatMap((each) =>
      (graph.constants.get(each)?.shape ?? []).flatMap((size, axis) =>
        covered.has(`${axis} ${each}`) ? [] : [{ parameter: each, axis, size }],
      ),
    ),
  };
}
