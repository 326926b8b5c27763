import type { Attribute, Graph, Node } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type OnnxFunction, overloadOf, type RawModel } from "./decode.ts";
import { referenceOf } from "./decode-attribute.ts";
import { nodeLabel, quoted } from "./label.ts";

/** Functions that call each other can double at each level; real models stay far below. */
const mostNodes = 262_144;

/**
 * Puts the bodies of model-local functions where they are called. Attribute references get the call's values, inner
 * values get new names. Throws `model` for recursive functions, and for functions of other operator set versions.
 */
export function inlineFunctions({ model, functions }: RawModel): Graph {
  if (functions.length === 0) return model.graph;
  const byKey = new Map(functions.map((f) => [keyOf(f.domain, f.name, f.overload), f]));
  const inliner = new Inliner(byKey, model.graph);
  const graph = inliner.graph(model.graph, []);
  const opsets = new Map(inliner.opsets);
  const used = new Set<string>();
  collectDomains(graph, used);
  for (const { domain } of functions) if (domain !== "" && !used.has(domain)) opsets.delete(domain);
  return withOpsets(graph, opsets);
}

/** Every graph in the attributes of a node. */
function mapGraphs(attributes: ReadonlyMap<string, Attribute>, change: (graph: Graph) => Graph) {
  const entries = [...attributes].map(([name, attribute]): [string, Attribute] => [
    name,
    attribute.kind === "graph" ? { ...attribute, value: change(attribute.value) } : attribute,
  ]);
  return new Map(entries);
}

function hasGraph(node: Node): boolean {
  for (const attribute of node.attributes.values()) if (attribute.kind === "graph") return true;
  return false;
}

function withOpsets(graph: Graph, opsets: ReadonlyMap<string, number>): Graph {
  const nodes = graph.nodes.map((node) =>
    hasGraph(node) ? { ...node, attributes: mapGraphs(node.attributes, (g) => withOpsets(g, opsets)) } : node,
  );
  return { ...graph, nodes, opsets };
}

function collectDomains(graph: Graph, into: Set<string>): void {
  for (const node of graph.nodes) {
    into.add(node.domain);
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === "graph") collectDomains(attribute.value, into);
    }
  }
}

function keyOf(domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload]);
}

/** What the names of a function body mean at one call. */
interface Call {
  readonly node: Node;
  readonly body: OnnxFunction;
  /** New names by old ones; in a subgraph, those of the values that it defines itself. */
  readonly names: Map<string, string>;
  /** The scope around a subgraph. */
  readonly outer?: Call;
}

class Inliner {
  readonly opsets: Map<string, number>;
  readonly #functions: ReadonlyMap<string, OnnxFunction>;
  readonly #taken = new Set<string>();
  #counter = 0;
  #nodes = 0;

  constructor(functions: ReadonlyMap<string, OnnxFunction>, graph: Graph) {
    this.#functions = functions;
    this.opsets = new Map(graph.opsets);
    this.#take(graph);
  }

  graph(graph: Graph, stack: readonly OnnxFunction[]): Graph {
    return { ...graph, nodes: this.#nodesOf(graph.nodes, stack) };
  }

  #nodesOf(nodes: readonly Node[], stack: readonly OnnxFunction[]): Node[] {
    const out: Node[] = [];
    for (const node of nodes) {
      const body = this.#functions.get(keyOf(node.domain, node.op, overloadOf(node)));
      if (body !== undefined) {
        for (const inner of this.#expand(node, body, stack)) out.push(inner);
      } else if (hasGraph(node)) {
        out.push({ ...node, attributes: mapGraphs(node.attributes, (g) => this.graph(g, stack)) });
      } else out.push(node);
    }
    return out;
  }

  #expand(node: Node, body: OnnxFunction, stack: readonly OnnxFunction[]): Node[] {
    if (stack.includes(body) || stack.length > 64) {
      throw new EspalierError(
        "model",
        nodeLabel(node),
        `expected functions that end, got ${quoted(body.name)} in itself.`,
      );
    }
    this.#matchOpsets(node, body);
    const names = new Map<string, string>([["", ""]]);
    for (const [i, formal] of body.inputs.entries()) names.set(formal, node.inputs[i] ?? "");
    const copies: Node[] = [];
    for (const [i, formal] of body.outputs.entries()) {
      const actual = node.outputs[i] ?? "";
      if (actual === "") continue;
      if (!names.has(formal)) names.set(formal, actual);
      else {
        // An output that is an input, or the same value twice, needs a node that gives it its second name.
        copies.push({
          name: "",
          domain: "",
          op: "Identity",
          inputs: [names.get(formal) ?? ""],
          outputs: [actual],
          attributes: new Map(),
        });
      }
    }
    const call: Call = { node, body, names };
    const nodes = body.nodes.map((inner) => this.#copy(inner, call));
    return [...this.#nodesOf(nodes, [...stack, body]), ...copies];
  }

  #copy(inner: Node, call: Call): Node {
    this.#nodes++;
    if (this.#nodes > mostNodes) {
      throw new EspalierError(
        "model",
        nodeLabel(call.node),
        `expected at most ${mostNodes} nodes when functions are inlined, got more.`,
      );
    }
    const attributes = new Map<string, Attribute>();
    for (const [name, attribute] of inner.attributes) {
      const reference = referenceOf(attribute);
      if (reference !== undefined) {
        const value = call.node.attributes.get(reference) ?? call.body.defaults.get(reference);
        if (value !== undefined) attributes.set(name, value);
      } else if (attribute.kind === "graph") {
        attributes.set(name, { ...attribute, value: this.#copyGraph(attribute.value, call) });
      } else attributes.set(name, attribute);
    }
    const name = inner.name === "" ? "" : `${call.node.name}/${inner.name}`;
    const inputs = inner.inputs.map((input) => this.#rename(input, call));
    return { ...inner, name, inputs, outputs: inner.outputs.map((output) => this.#rename(output, call)), attributes };
  }

  #copyGraph(graph: Graph, call: Call): Graph {
    const inner: Call = { ...call, names: new Map(), outer: call };
    for (const { name } of graph.inputs) this.#define(name, inner);
    for (const name of graph.constants.keys()) this.#define(name, inner);
    for (const node of graph.nodes) for (const output of node.outputs) if (output !== "") this.#define(output, inner);
    const renamed = (name: string) => this.#rename(name, inner);
    return {
      ...graph,
      inputs: graph.inputs.map((info) => ({ ...info, name: renamed(info.name) })),
      constants: new Map([...graph.constants].map(([name, ref]) => [renamed(name), ref])),
      nodes: graph.nodes.map((node) => this.#copy(node, inner)),
      outputs: graph.outputs.map((info) => ({ ...info, name: renamed(info.name) })),
      valueInfo: new Map(
        [...graph.valueInfo].map(([name, info]) => [renamed(name), { ...info, name: renamed(name) }] as const),
      ),
    };
  }

  /** The new name of a value. One that no scope defines yet belongs to the function: a later node may produce it. */
  #rename(name: string, call: Call): string {
    let scope = call;
    for (;;) {
      const known = scope.names.get(name);
      if (known !== undefined) return known;
      if (scope.outer === undefined) return this.#define(name, scope);
      scope = scope.outer;
    }
  }

  #define(name: string, call: Call): string {
    const base = `${call.node.name || call.node.op}/${name}`;
    let fresh = base;
    while (this.#taken.has(fresh)) fresh = `${base}_${this.#counter++}`;
    this.#taken.add(fresh);
    call.names.set(name, fresh);
    return fresh;
  }

  #matchOpsets(node: Node, body: OnnxFunction): void {
    const used = new Set(body.nodes.map((inner) => inner.domain));
    for (const [domain, version] of body.opsets) {
      const own = this.opsets.get(domain);
      if (own === undefined) this.opsets.set(domain, version);
      else if (own !== version && used.has(domain)) {
        throw new EspalierError(
          "model",
          nodeLabel(node),
          `expected its function in version ${own} of the operator set "${domain || "ai.onnx"}", got ${version}.`,
          "Export the model with one version for all functions.",
        );
      }
    }
  }

  #take(graph: Graph): void {
    for (const { name } of graph.inputs) this.#taken.add(name);
    for (const name of graph.constants.keys()) this.#taken.add(name);
    for (const node of graph.nodes) {
      for (const output of node.outputs) this.#taken.add(output);
      for (const attribute of node.attributes.values()) if (attribute.kind === "graph") this.#take(attribute.value);
    }
  }
}
