import { EspalierError } from "../../tensor/error.ts";
import { formatShape, type HostTensor, load } from "../../tensor/tensor.ts";
import { allNames, localNames } from "../captures.ts";
import type { Draft } from "../draft.ts";
import { edit } from "../edit.ts";
import type { Attribute, Graph, Node } from "../graph.ts";
import { Names } from "../names.ts";
import { renameAll } from "../rename.ts";
import { removeDeadCode } from "./dead-code.ts";

const choice = "If";

/**
 * Replaces every If whose condition is constant by the branch that it takes, nested ones and those inside loops too.
 * `fixed` gives values for graph inputs (which then are inputs no more) or inner values by name, so that the user can
 * decide an If. Fold constants first where a condition is computed. Throws `request` for a fixed name or type that does
 * not fit.
 */
export async function inlineIf(graph: Graph, fixed: ReadonlyMap<string, HostTensor> = new Map()): Promise<Graph> {
  const pinned = fixed.size === 0 ? graph : pin(graph, fixed);
  if (!pinned.nodes.some(hasSubgraph)) return pinned === graph ? graph : removeDeadCode(pinned);
  const inlined = await inlineIn(pinned, new Map(), new Names(allNames(pinned)));
  return inlined === graph ? graph : removeDeadCode(inlined);
}

/** Truth of the constants around a subgraph, as far as they are single bools. */
type Conditions = ReadonlyMap<string, boolean>;

async function inlineIn(graph: Graph, outer: Conditions, names: Names): Promise<Graph> {
  const conditions = new Map(outer);
  for (const name of localNames(graph)) conditions.delete(name);
  const learn = async (constants: Graph["constants"]) => {
    for (const [name, ref] of constants) {
      if (ref.dtype !== "bool" || ref.shape.some((n) => n !== 1)) continue;
      conditions.set(name, (await load(ref)).bytes[0] !== 0);
    }
  };
  await learn(graph.constants);
  const draft = edit(graph, names);
  // Nodes of a branch join the list, so that nested Ifs get their turn in the same sweep.
  const pending = [...graph.nodes].filter(hasSubgraph);
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    const taken = takenBranch(node, conditions);
    if (taken !== undefined) {
      const added = splice(draft, node, taken);
      await learn(added.constants);
      pending.push(...added.nodes.filter(hasSubgraph));
      continue;
    }
    const changes: Record<string, Attribute> = {};
    for (const [name, attribute] of node.attributes) {
      if (attribute.kind !== "graph") continue;
      const value = await inlineIn(attribute.value, conditions, names);
      if (value !== attribute.value) changes[name] = { kind: "graph", value };
    }
    if (Object.keys(changes).length > 0) draft.setAttributes(node, changes);
  }
  return draft.finish();
}

function takenBranch(node: Node, conditions: Conditions): Graph | undefined {
  if (node.op !== choice || node.domain !== "") return undefined;
  const condition = conditions.get(node.inputs[0] ?? "");
  if (condition === undefined) return undefined;
  const branch = node.attributes.get(condition ? "then_branch" : "else_branch");
  return branch?.kind === "graph" ? branch.value : undefined;
}

/** Puts the nodes of a branch in the place of its If, under fresh names; its outputs take the names of the If's. */
function splice(draft: Draft, node: Node, branch: Graph): Pick<Graph, "nodes" | "constants"> {
  const present = draft.current(node);
  const renames = new Map<string, string>();
  const named = new Set<string>();
  for (const branchNode of branch.nodes) for (const name of branchNode.outputs) named.add(name);
  const copies: [from: string, to: string][] = [];
  for (const [index, output] of present.outputs.entries()) {
    const result = branch.outputs[index]?.name;
    if (output === "" || result === undefined) continue;
    if (named.has(result) && !renames.has(result)) renames.set(result, output);
    else copies.push([result, output]);
  }
  for (const name of localNames(branch)) if (!renames.has(name)) renames.set(name, draft.fresh(name));
  const body = renameAll(branch, renames, (prefix) => draft.fresh(prefix));
  // The If gives up its names first, so that its branch can stand where it stood.
  const place = { before: draft.replace(present, { ...present, outputs: [] }) };
  for (const [name, constant] of body.constants) draft.setConstant(name, constant);
  for (const [name, info] of body.valueInfo) draft.setType(name, info);
  for (const bodyNode of body.nodes) draft.add(bodyNode, place);
  for (const [from, to] of copies) draft.op("Identity", [renames.get(from) ?? from], {}, to, place);
  draft.remove(place.before);
  return body;
}

function pin(graph: Graph, fixed: ReadonlyMap<string, HostTensor>): Graph {
  const draft = edit(graph);
  for (const [name, value] of fixed) {
    const declared = graph.inputs.find((input) => input.name === name) ?? graph.valueInfo.get(name);
    if (!draft.has(name)) {
      throw new EspalierError("request", `fixed value "${name}"`, "expected an input or value of the graph, got none.");
    }
    const fits =
      (declared?.dtype ?? value.dtype) === value.dtype &&
      (declared?.dims === undefined ||
        (declared.dims.length === value.shape.length &&
          declared.dims.every((dim, axis) => typeof dim !== "number" || dim === value.shape[axis])));
    if (declared !== undefined && !fits) {
      throw new EspalierError(
        "request",
        `fixed value "${name}"`,
        `expected ${declared.dtype ?? "a tensor"}${formatShape(declared.dims ?? [])}, got ${value.dtype}${formatShape(value.shape)}.`,
      );
    }
    const node = draft.producer(name);
    if (node !== undefined) {
      draft.replace(node, { ...node, outputs: node.outputs.map((o) => (o === name ? draft.fresh(name) : o)) });
    }
    draft.removeInput(name);
    draft.setConstant(name, value);
  }
  return draft.finish();
}

function hasSubgraph(node: Node): boolean {
  for (const attribute of node.attributes.values()) if (attribute.kind === "graph") return true;
  return false;
}
