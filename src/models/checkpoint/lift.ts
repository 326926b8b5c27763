import { int } from "../../graph/attributes.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph } from "../../graph/graph.ts";
import { renameAll } from "../../graph/rename.ts";
import { type DType, onnxNumberOf } from "../../tensor/dtype.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

/** A stage's graph that is fed its parameters, so that one compiled session serves every stage of its kind. */
export interface Lifted {
  readonly graph: Graph;
  /** The same for stages whose graphs differ in nothing but the names of their parameters. */
  readonly key: string;
  /** Inputs of the graph and the tensors of the checkpoint that they take, in order. */
  readonly parameters: readonly { readonly input: string; readonly tensor: string }[];
}

/** Types that sessions do not take as inputs, and the whole numbers of the same width as which they are fed. */
const fedAs: ReadonlyMap<DType, DType> = new Map([
  ["bf16", "u16"],
  ["f8e4m3fn", "u8"],
  ["f8e5m2", "u8"],
]);

/** The operator set that has BitCast. */
const bitCastOpset = 26;

/** Makes the constants of a graph that `parameters` names inputs. */
export function lifted(graph: Graph, parameters: { has(name: string): boolean }): Lifted {
  const draft = edit(graph);
  const names = [...graph.constants.keys()].filter((name) => parameters.has(name));
  const fed = names.map((tensor, i) => {
    const ref = graph.constants.get(tensor);
    const dtype = ref?.dtype ?? "f32";
    const as = fedAs.get(dtype);
    const input = draft.input(draft.fresh(`parameter.${i}`), as ?? dtype, ref?.shape);
    if (as === undefined) draft.replaceUses(tensor, input);
    else {
      draft.setOpset("", bitCastOpset);
      draft.replaceUses(tensor, draft.op("BitCast", [input], { to: int(onnxNumberOf(dtype)) }));
    }
    draft.removeConstant(tensor);
    return { input, tensor };
  });
  const uniform = numbered(draft.finish());
  return { graph: uniform, key: keyOf(uniform), parameters: fed };
}

/** The tensor in the type in which a lifted graph takes it, over the same bytes. */
export function fedTensor(tensor: HostTensor): HostTensor {
  return { ...tensor, dtype: fedAs.get(tensor.dtype) ?? tensor.dtype };
}

/** Values but inputs and outputs named by their order: names that came from parameters would tell stages apart. */
function numbered(graph: Graph): Graph {
  const kept = new Set([...graph.inputs, ...graph.outputs].map(({ name }) => name));
  const names = new Map<string, string>();
  const rename = (name: string): void => {
    if (name !== "" && !kept.has(name)) names.set(name, `v${names.size}`);
  };
  for (const name of graph.constants.keys()) rename(name);
  for (const node of graph.nodes) for (const name of node.outputs) rename(name);
  const renamed = renameAll({ ...graph, name: "stage" }, names, (prefix) => prefix);
  return { ...renamed, nodes: renamed.nodes.map((node) => ({ ...node, name: node.outputs[0] ?? "" })) };
}

function keyOf({ inputs, outputs, nodes, constants, opsets }: Graph): string {
  return JSON.stringify([
    [...opsets],
    inputs.map(({ name, dtype, dims }) => [name, dtype, dims]),
    outputs.map(({ name, dtype, dims }) => [name, dtype, dims]),
    nodes.map((node) => [node.domain, node.op, node.inputs, node.outputs, [...node.attributes]]),
    [...constants].map(([name, { dtype, shape, resident }]) => [name, dtype, shape, [...(resident ?? [])]]),
  ]);
}
