import { describeNode, graphAttrs, subgraph } from "../../graph/attributes.ts";
import { allNames } from "../../graph/captures.ts";
import { edit } from "../../graph/edit.ts";
import type { Attribute, Graph, Node, TensorType } from "../../graph/graph.ts";
import { Names } from "../../graph/names.ts";
import type { Types } from "../../graph/subgraph.ts";
import { EspalierError } from "../../tensor/error.ts";
import { changes, type UpgradeContext } from "./changes.ts";

/** The version of ai.onnx whose forms gradients, taps' formulas and lowerings are written in. */
export const internalOpset = 21;

/**
 * The graph with the operators of a newer ai.onnx, `internalOpset` unless its own is newer still: the same values under
 * the same names, with helper nodes where a form became two. Subgraphs too. `types` are what is known of its values;
 * unknown ones cost helper nodes. Throws `model` for sets before 7 and for forms that newer sets cannot say.
 */
export async function upgrade(graph: Graph, types: Types = new Map()): Promise<Graph> {
  const own = graph.opsets.get("") ?? internalOpset;
  if (own >= internalOpset) return graph;
  if (own < oldest) {
    const message = `expected operator set ${oldest} or newer, got ${own}.`;
    throw new EspalierError("model", `graph "${graph.name}"`, message, "Export the model anew.");
  }
  return upgradeInside(graph, own, types, new Names(allNames(graph)));
}

/** Broadcasting has its present meaning from here on. */
const oldest = 7;

async function upgradeInside(graph: Graph, opset: number, outer: Types, names: Names): Promise<Graph> {
  const draft = edit(graph, names);
  const types = withDeclared(graph, outer);
  for (const old of graph.nodes) {
    let node = old;
    const inner: Record<string, Attribute> = {};
    for (const [name, body] of graphAttrs(node)) inner[name] = subgraph(await upgradeInside(body, opset, types, names));
    if (Object.keys(inner).length > 0) node = draft.setAttributes(node, inner);
    const change = node.domain === "" ? changes[node.op] : undefined;
    if (change === undefined || opset >= change.before) continue;
    await change.rewrite(context(draft, node, opset, types, graph));
  }
  draft.setOpset("", internalOpset);
  return draft.finish();
}

function context(draft: UpgradeContext["draft"], node: Node, opset: number, types: Types, graph: Graph) {
  const type = (index: number): TensorType | undefined => types.get(node.inputs[index] ?? "");
  return {
    draft,
    node,
    opset,
    type,
    constant: (index: number) => graph.constants.get(node.inputs[index] ?? ""),
    isRead: (index: number) => {
      const name = node.outputs[index] ?? "";
      return name !== "" && (draft.consumers(name).length > 0 || graph.outputs.some((output) => output.name === name));
    },
    refuse: (because: string): never => {
      throw new EspalierError(
        "model",
        describeNode(node),
        `expected a form that operator set ${internalOpset} can say, but ${because}.`,
        `Export the model with operator set ${internalOpset}.`,
      );
    },
  };
}

/** What is known of values: given types, then what the graph declares with fixed sizes, then constants. */
function withDeclared(graph: Graph, outer: Types): Types {
  const types = new Map<string, TensorType>();
  for (const { name, dtype, dims } of [...graph.valueInfo.values(), ...graph.inputs, ...graph.outputs]) {
    if (dtype !== null && dims?.every((n) => typeof n === "number")) types.set(name, { dtype, shape: dims });
  }
  for (const [name, type] of outer) types.set(name, type);
  for (const [name, { dtype, shape }] of graph.constants) types.set(name, { dtype, shape });
  return types;
}
