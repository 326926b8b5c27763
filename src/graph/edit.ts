import { EspalierError } from "../tensor/error.ts";
import { float32Tensor, fromInts } from "../tensor/numeric.ts";
import type { HostTensor, TensorRef } from "../tensor/tensor.ts";
import { type Attributes, asRef, withAttributes } from "./attributes.ts";
import { allNames, captures } from "./captures.ts";
import type { Draft, Place } from "./draft.ts";
import type { Attribute, Graph, Node, ValueInfo } from "./graph.ts";
import { Names } from "./names.ts";
import { renameReads } from "./rename.ts";
import { sortNodes } from "./topological.ts";

export type { Draft };

/** Starts a draft over a graph. `names` is shared by the drafts of a graph and of its subgraphs. */
export function edit(graph: Graph, names: Names = new Names(allNames(graph))): Draft {
  return new GraphDraft(graph, names);
}

class GraphDraft implements Draft {
  readonly #graph: Graph;
  readonly #names: Names;
  readonly #slots = new Map<Node, Slot>();
  readonly #producers = new Map<string, Slot>();
  readonly #readers = new Map<string, Set<Slot>>();
  readonly #redirected = new Map<string, string>();
  /** Stands before the first and after the last slot. */
  readonly #ends: Slot;
  readonly #fresh = (prefix: string) => this.fresh(prefix);
  #inputs: readonly ValueInfo[];
  #inputNames: Set<string>;
  #outputs: readonly ValueInfo[];
  #outputNames: Set<string>;
  #constants: ReadonlyMap<string, TensorRef>;
  #ownConstants: Map<string, TensorRef> | undefined;
  #valueInfo: ReadonlyMap<string, ValueInfo>;
  #ownValueInfo: Map<string, ValueInfo> | undefined;
  #opsets: ReadonlyMap<string, number>;
  #nodesChanged = false;

  constructor(graph: Graph, names: Names) {
    this.#graph = graph;
    this.#names = names;
    this.#inputs = graph.inputs;
    this.#inputNames = new Set(graph.inputs.map((input) => input.name));
    this.#outputs = graph.outputs;
    this.#outputNames = new Set(graph.outputs.map((output) => output.name));
    this.#constants = graph.constants;
    this.#valueInfo = graph.valueInfo;
    this.#opsets = graph.opsets;
    this.#ends = new Slot(nothing);
    for (const node of graph.nodes) this.#insert(node, this.#ends.before);
  }

  fresh(prefix: string): string {
    return this.#names.fresh(prefix);
  }

  has(value: string): boolean {
    return this.#inputNames.has(value) || this.#constants.has(value) || this.#producers.has(value);
  }

  nodes(): readonly Node[] {
    const nodes: Node[] = [];
    for (let slot = this.#ends.next; slot !== this.#ends; slot = slot.next) nodes.push(slot.node);
    return nodes;
  }

  producer(value: string): Node | undefined {
    return this.#producers.get(value)?.node;
  }

  consumers(value: string): readonly Node[] {
    return Array.from(this.#readers.get(value) ?? [], (slot) => slot.node);
  }

  current(node: Node): Node {
    return this.#slot(node).node;
  }

  op(op: string, inputs: readonly string[], attributes?: Attributes, output?: string, place?: Place): string;
  op<const T extends readonly string[]>(
    op: string,
    inputs: readonly string[],
    attributes: Attributes,
    outputs: T,
    place?: Place,
  ): T;
  op(
    op: string,
    inputs: readonly string[],
    attributes: Attributes = {},
    outputs?: string | readonly string[],
    place: Place = {},
  ): string | readonly string[] {
    const split = op.lastIndexOf("::");
    const domain = split < 0 ? "" : op.slice(0, split);
    const type = split < 0 ? op : op.slice(split + 2);
    if (!this.#opsets.has(domain)) this.setOpset(domain, 1);
    const result = outputs ?? this.fresh(type);
    const names = typeof result === "string" ? [result] : result;
    const name = names.find((value) => value !== "") ?? "";
    this.add(
      { name, domain, op: type, inputs, outputs: names, attributes: new Map(Object.entries(attributes)) },
      place,
    );
    return result;
  }

  add(node: Node, place: Place = {}): Node {
    let previous = this.#ends.before;
    if (place.before !== undefined) previous = this.#slot(place.before).before;
    else if (place.after !== undefined) previous = this.#slot(place.after);
    this.#insert(node, previous);
    this.#nodesChanged = true;
    return node;
  }

  constant(tensor: HostTensor | TensorRef, name = "constant"): string {
    const unique = this.fresh(name);
    this.#writableConstants().set(unique, asRef(tensor));
    return unique;
  }

  int64(values: readonly number[], shape: readonly number[] = [values.length], name = "ints"): string {
    return this.constant(fromInts("i64", shape, values), name);
  }

  float32(values: readonly number[], shape: readonly number[] = [values.length], name = "floats"): string {
    return this.constant(float32Tensor(shape, Float32Array.from(values)), name);
  }

  input(name: string, dtype: ValueInfo["dtype"], dims?: ValueInfo["dims"]): string {
    if (this.has(name)) throw taken(name);
    this.#names.add(name);
    this.#inputs = [...this.#inputs, valueInfo(name, dtype, dims)];
    this.#inputNames.add(name);
    return name;
  }

  output(value: string, dtype?: ValueInfo["dtype"], dims?: ValueInfo["dims"]): string {
    if (this.#outputNames.has(value)) return value;
    const known = this.#valueInfo.get(value) ?? this.#inputs.find((input) => input.name === value);
    const constant = this.#constants.get(value);
    const info =
      dtype !== undefined
        ? valueInfo(value, dtype, dims)
        : (known ?? valueInfo(value, constant?.dtype ?? null, constant?.shape ?? dims));
    this.#outputs = [...this.#outputs, info];
    this.#outputNames.add(value);
    return value;
  }

  setInputs(node: Node, inputs: readonly string[]): Node {
    return this.#update(this.#slot(node), { ...this.current(node), inputs });
  }

  setInput(node: Node, index: number, value: string): Node {
    const inputs = [...this.current(node).inputs];
    while (inputs.length < index) inputs.push("");
    inputs[index] = value;
    return this.setInputs(node, inputs);
  }

  setAttributes(node: Node, changes: Readonly<Record<string, Attribute | null>>): Node {
    return this.#update(this.#slot(node), withAttributes(this.current(node), changes));
  }

  replace(node: Node, by: Node): Node {
    return this.#update(this.#slot(node), by);
  }

  remove(node: Node): void {
    const slot = this.#slot(node);
    this.#unlink(slot);
    slot.live = false;
    slot.before.next = slot.next;
    slot.next.before = slot.before;
    this.#nodesChanged = true;
  }

  replaceUses(
    value: string,
    by: string,
    options: { readonly only?: Iterable<Node>; readonly except?: Iterable<Node>; readonly outputs?: boolean } = {},
  ): void {
    if (value === by) return;
    const except = new Set(Array.from(options.except ?? [], (node) => this.#slot(node)));
    const maker = this.#producers.get(by);
    if (maker !== undefined) except.add(maker);
    const readers = this.#readers.get(value);
    const chosen = options.only === undefined ? [...(readers ?? [])] : Array.from(options.only, (n) => this.#slot(n));
    for (const slot of chosen) if (!except.has(slot)) this.#renameReads(slot, value, by);
    if (options.only !== undefined || options.outputs === false) return;
    for (const [output, source] of this.#redirected) if (source === value) this.#redirected.set(output, by);
    if (this.#outputNames.has(value) && !this.#redirected.has(value)) this.#redirected.set(value, by);
  }

  setConstant(name: string, tensor: HostTensor | TensorRef): void {
    if (!this.#constants.has(name) && this.has(name)) throw taken(name);
    this.#names.add(name);
    this.#writableConstants().set(name, asRef(tensor));
    this.setType(name, null);
  }

  removeConstant(name: string): void {
    if (this.#constants.has(name)) this.#writableConstants().delete(name);
  }

  removeInput(name: string): void {
    this.setInputInfos(this.#inputs.filter((input) => input.name !== name));
  }

  setInputInfos(inputs: readonly ValueInfo[]): void {
    this.#inputs = inputs;
    this.#inputNames = new Set(inputs.map((input) => input.name));
    for (const name of this.#inputNames) this.#names.add(name);
  }

  setOutputs(outputs: readonly ValueInfo[]): void {
    this.#outputs = outputs;
    this.#outputNames = new Set(outputs.map((output) => output.name));
    this.#redirected.clear();
  }

  setType(value: string, info: Omit<ValueInfo, "name"> | null): void {
    if (info === null && !this.#valueInfo.has(value)) return;
    this.#ownValueInfo ??= new Map(this.#valueInfo);
    this.#valueInfo = this.#ownValueInfo;
    if (info === null) this.#ownValueInfo.delete(value);
    else this.#ownValueInfo.set(value, { ...info, name: value });
  }

  clearTypes(): void {
    if (this.#valueInfo.size === 0) return;
    this.#ownValueInfo = new Map();
    this.#valueInfo = this.#ownValueInfo;
  }

  setOpset(domain: string, version: number): void {
    this.#opsets = new Map([...this.#opsets, [domain, version]]);
  }

  finish(): Graph {
    this.#applyRedirections();
    const graph = this.#graph;
    const nodes = this.#nodesChanged ? sortNodes(this.nodes()) : graph.nodes;
    const same =
      nodes === graph.nodes &&
      this.#inputs === graph.inputs &&
      this.#outputs === graph.outputs &&
      this.#constants === graph.constants &&
      this.#valueInfo === graph.valueInfo &&
      this.#opsets === graph.opsets;
    if (same) return graph;
    // Later steps of this draft must not reach into the graph that is given out.
    this.#ownConstants = undefined;
    this.#ownValueInfo = undefined;
    return {
      name: graph.name,
      inputs: this.#inputs,
      outputs: this.#outputs,
      nodes,
      constants: this.#constants,
      opsets: this.#opsets,
      valueInfo: this.#valueInfo,
    };
  }

  /**
   * A redirected output takes over the name: its new producer is renamed, or an Identity copies what cannot be.
   * What had the name before gets another one.
   */
  #applyRedirections(): void {
    for (const output of this.#redirected.keys()) this.#moveAway(output);
    for (const output of this.#redirected.keys()) {
      // Read late: an earlier round may have renamed the source.
      const by = this.#redirected.get(output) ?? output;
      const slot = this.#producers.get(by);
      if (slot === undefined || this.#outputNames.has(by)) this.op("Identity", [by], {}, output);
      else this.#renameValue(slot, by, output);
    }
    this.#redirected.clear();
  }

  #moveAway(value: string): void {
    if (this.#inputNames.has(value)) {
      throw new EspalierError(
        "model",
        `output "${value}"`,
        "expected an output that a node computes, got one that is a graph input.",
        "Put an Identity between the input and the output.",
      );
    }
    const slot = this.#producers.get(value);
    const constant = this.#constants.get(value);
    if (slot !== undefined) this.#renameValue(slot, value, this.fresh(value));
    else if (constant !== undefined) {
      const name = this.constant(constant, value);
      this.removeConstant(value);
      this.#renameReaders(value, name);
    }
  }

  #renameValue(slot: Slot, from: string, to: string): void {
    const outputs = slot.node.outputs.map((name) => (name === from ? to : name));
    // A node that is called by its value stays called by it, so that no later node of that name meets it.
    const name = slot.node.name === from ? to : slot.node.name;
    this.#update(slot, { ...slot.node, name, outputs });
    this.setType(from, null);
    this.#renameReaders(from, to);
  }

  #renameReaders(from: string, to: string): void {
    for (const reader of [...(this.#readers.get(from) ?? [])]) this.#renameReads(reader, from, to);
    for (const [output, by] of this.#redirected) if (by === from) this.#redirected.set(output, to);
  }

  #renameReads(slot: Slot, from: string, to: string): void {
    const node = renameReads(slot.node, new Map([[from, to]]), this.#fresh);
    if (node !== slot.node) this.#update(slot, node);
  }

  #slot(node: Node): Slot {
    const slot = this.#slots.get(node);
    if (slot === undefined || !slot.live) throw missing("node", node.name === "" ? node.op : node.name);
    return slot;
  }

  #insert(node: Node, previous: Slot): void {
    const slot = new Slot(node);
    slot.before = previous;
    slot.next = previous.next;
    previous.next.before = slot;
    previous.next = slot;
    this.#link(slot, node);
  }

  #update(slot: Slot, node: Node): Node {
    this.#unlink(slot);
    slot.node = node;
    this.#link(slot, node);
    this.#nodesChanged = true;
    return node;
  }

  #link(slot: Slot, node: Node): void {
    this.#slots.set(node, slot);
    for (const name of node.outputs) {
      if (name === "") continue;
      if (this.has(name)) throw taken(name);
      this.#names.add(name);
      this.#producers.set(name, slot);
    }
    for (const name of reads(node)) {
      if (name === "") continue;
      const readers = this.#readers.get(name);
      if (readers === undefined) this.#readers.set(name, new Set([slot]));
      else readers.add(slot);
    }
  }

  #unlink(slot: Slot): void {
    for (const name of slot.node.outputs) this.#producers.delete(name);
    for (const name of reads(slot.node)) this.#readers.get(name)?.delete(slot);
  }

  #writableConstants(): Map<string, TensorRef> {
    this.#ownConstants ??= new Map(this.#constants);
    this.#constants = this.#ownConstants;
    return this.#ownConstants;
  }
}

/** One place in the order of nodes: a ring of these, so that adding and removing take constant time. */
class Slot {
  node: Node;
  before: Slot = this;
  next: Slot = this;
  live = true;

  constructor(node: Node) {
    this.node = node;
  }
}

const nothing: Node = { name: "", domain: "", op: "", inputs: [], outputs: [], attributes: new Map() };

function reads(node: Node): readonly string[] {
  const captured = captures(node);
  return captured.length === 0 ? node.inputs : [...node.inputs, ...captured];
}

function valueInfo(name: string, dtype: ValueInfo["dtype"], dims: ValueInfo["dims"]): ValueInfo {
  return dims === undefined ? { name, dtype } : { name, dtype, dims };
}

function taken(name: string): EspalierError {
  return new EspalierError(
    "model",
    `value "${name}"`,
    "expected one definition, got two.",
    "Names of values are unique.",
  );
}

function missing(kind: string, name: string): EspalierError {
  return new EspalierError(
    "model",
    `${kind} "${name}"`,
    `expected a ${kind} of this graph, got one that is not there.`,
  );
}
