import { captures } from "../graph/captures.ts";
import type { Graph, Node, TensorType } from "../graph/graph.ts";
import { type UseDef, useDef } from "../graph/uses.ts";
import { type Axis, type AxisContext, type GraphContext, type Kernel, type Operand, operandName } from "../ops/spec.ts";
import { opSpec, readsSizesOnly } from "../ops/table.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { type HostTensor, sizeOf } from "../tensor/tensor.ts";
import { AxisAlgebra, type Occurrence, Term } from "./axis-algebra.ts";
import { parameterBehind } from "./parameter-behind.ts";
import { type Placement, placementOf, setCount } from "./placement.ts";
import { findSets, type Mixing } from "./sets.ts";

/** What coupling needs to know of a model, all at one set of input sizes. */
export interface CouplingFacts {
  /** Types of every value, constants included. */
  readonly types: ReadonlyMap<string, TensorType>;
  /** Values that do not depend on the data: constants, and integers computed from constants and shapes. */
  readonly values: ReadonlyMap<string, HostTensor>;
  /** Those of `values` that follow from sizes and integers alone; numbers made of weights are not among them. */
  readonly sizes: ReadonlySet<string>;
  /** Shapes at other input sizes, for models with dynamic dimensions: an axis that differs is dynamic. */
  readonly otherShapes: ReadonlyMap<string, readonly number[]>;
}

/** True where the size of an axis follows the sizes of the model's inputs. */
function isDynamic(facts: CouplingFacts, value: string, axis: number): boolean {
  const other = facts.otherShapes.get(value);
  return other !== undefined && other[axis] !== facts.types.get(value)?.shape[axis];
}

/** True for nodes that only compute sizes and other numbers that do not depend on the data. */
export function isBookkeeping(node: Node, facts: CouplingFacts): boolean {
  return node.outputs.every((name) => {
    if (name === "") return true;
    const value = facts.values.get(name);
    if (value === undefined || !facts.sizes.has(name)) return false;
    // A float that grows with the input, such as an initial state of zeros, is data like any other.
    const other = facts.otherShapes.get(name);
    return !isFloat(value.dtype) || other === undefined || other.every((n, i) => n === value.shape[i]);
  });
}

/** Types in which models state sizes and positions; narrower integers are quantised weights. */
const sizeTypes: ReadonlySet<string> = new Set(["i32", "i64", "bool"]);

/** Values that follow from sizes, integers and single numbers alone. */
export function sizeValues(graph: Graph, values: ReadonlyMap<string, HostTensor>): ReadonlySet<string> {
  const found = new Set<string>();
  for (const [name, { dtype, shape }] of graph.constants) {
    if (sizeTypes.has(dtype) || (isFloat(dtype) && sizeOf(shape) === 1)) found.add(name);
  }
  for (const node of graph.nodes) {
    const answers = readsSizesOnly(node) || node.inputs.every((name) => name === "" || found.has(name));
    if (!answers) continue;
    for (const name of node.outputs) if (values.has(name)) found.add(name);
  }
  return found;
}

/** A place where a group's units lie: positions of one axis of one parameter. */
export interface Member {
  /** Name of the parameter (initializer). */
  readonly parameter: string;
  readonly axis: number;
  /** Which units lie at which positions of the axis. */
  placement(): Placement;
  /** "output": rows of a kernel; "input": columns of a kernel; "other": norms, biases, tables. */
  readonly role: "output" | "input" | "other";
}

/** One class of coupled indices. Unit j of it is kept or removed everywhere at once. */
export interface Group {
  /** Named after the first parameter whose output it is. */
  readonly id: string;
  /** Units of each set. */
  readonly size: number;
  /** Sets in which units are chosen apart, as many in each; unit u of set s is number s · size + u. */
  readonly sets: number;
  /** Leaves whose indices tell the sets, the first varying slowest. */
  readonly parents: readonly Term[];
  readonly members: readonly Member[];
  /** Empty where units may be removed; else why not. */
  readonly blocked: readonly string[];
  readonly leaf: Term;
}

/** A place where an operator sums over, or takes statistics over, an axis. */
export interface AxisUse {
  readonly node: Node;
  readonly operand: Operand;
  readonly axis: number;
}

/** All units of a group. */
export function unitCount({ size, sets }: Pick<Group, "size" | "sets">): number {
  return size * sets;
}

export interface Coupling {
  readonly groups: readonly Group[];
  readonly sums: readonly AxisUse[];
  readonly restricts: readonly AxisUse[];
  /** Axes for each of whose indices matrices of data are multiplied apart. */
  readonly heads: readonly Term[];
  /** Operators without a rule, with the number of nodes. */
  readonly unknown: ReadonlyMap<string, number>;
  /** Axes of a value; undefined where its shape is unknown or it does not depend on the data. */
  axes(value: string): readonly Term[] | undefined;
  /** Where the leaves lie in an axis. */
  occurrences(axis: Term): readonly Occurrence[];
  /** Where the units of a group lie on an axis of a value. */
  placement(group: Pick<Group, "leaf" | "parents">, value: string, axis: number): Placement;
  /** Positions of an axis that are left when `kept` tells how many units of each leaf are. */
  count(axis: Term, kept: (leaf: Term) => number): number;
  /** The trained matrices of a node. */
  kernels(node: Node): readonly Kernel[];
  context(node: Node): GraphContext;
}

export interface CouplingOptions {
  /** Outputs whose axes may be cut; by default none. */
  readonly freeOutputs?: ReadonlySet<string>;
}

/**
 * Finds which indices of which parameters must be removed together (SPA, section B). Linear in the number of axes;
 * it never looks at names of layers or models.
 */
export function couple(graph: Graph, facts: CouplingFacts, options: CouplingOptions = {}): Coupling {
  const algebra = new AxisAlgebra();
  const axesOf = new Map<string, readonly Term[]>();
  const sums: AxisUse[] = [];
  const restricts: AxisUse[] = [];
  const unknown = new Map<string, number>();
  const mixing: Mixing[] = [];
  const heads: Term[] = [];
  const data = dataOf(graph);
  const links = useDef(graph);
  const related: Node[] = [];

  const axes = (value: string): readonly Term[] | undefined => {
    const known = axesOf.get(value);
    if (known !== undefined) return known;
    const type = facts.types.get(value);
    if (type === undefined) return undefined;
    const made = type.shape.map((size) => algebra.leaf(size));
    axesOf.set(value, made);
    return made;
  };
  const blockValue = (value: string, because: string): void => {
    for (const axis of axes(value) ?? []) algebra.block(axis, because);
  };

  for (const { name } of graph.inputs) blockValue(name, "an input of the model");
  for (const node of graph.nodes) {
    if (isBookkeeping(node, facts)) continue;
    const spec = opSpec(node.domain, node.op);
    const operands = [...node.inputs, ...node.outputs].filter((name) => name !== "");
    const typed = operands.every((name) => axes(name) !== undefined);
    if (spec === undefined || !typed) {
      const label = node.domain === "" ? node.op : `${node.domain}:${node.op}`;
      if (spec === undefined) unknown.set(label, (unknown.get(label) ?? 0) + 1);
      const because = spec === undefined ? `${label} is not understood` : `a shape around ${label} is not known`;
      for (const name of [...operands, ...captures(node)])
        blockValue(name, `${because} (${node.name || node.outputs[0]})`);
      continue;
    }
    related.push(node);
    spec.axes(
      axisContext(nodeContext(node, facts, graph, links), algebra, axes, { sums, restricts, mixing, heads, data }),
    );
  }
  for (const { name } of graph.outputs) {
    if (options.freeOutputs?.has(name) !== true) blockValue(name, "an output of the model");
  }

  const kernels = (node: Node): readonly Kernel[] => {
    const context = nodeContext(node, facts, graph, links);
    return opSpec(node.domain, node.op)?.kernels?.(context) ?? [];
  };
  const placement: Coupling["placement"] = ({ leaf, parents }, value, axis) =>
    placementOf(algebra, axes(value) ?? [], axis, leaf, parents);
  const found = collectMembers(graph, facts, algebra, axes, kernels, links);
  const leaves = new Map([...found].filter(([leaf]) => leaf.reasons === null));
  const sets = findSets({ algebra, leaves, values: axesOf, nodes: related, mixing });
  return {
    groups: groupsOf(found, sets, placement),
    sums,
    restricts,
    heads,
    unknown,
    axes,
    occurrences: (axis) => algebra.occurrences(axis),
    placement,
    count: (axis, kept) => algebra.count(axis, kept),
    kernels,
    context: (node) => nodeContext(node, facts, graph, links),
  };
}

/** Values that depend on the inputs of the graph. */
function dataOf(graph: Graph): ReadonlySet<string> {
  const data = new Set(graph.inputs.map(({ name }) => name));
  for (const node of graph.nodes) {
    const reads = node.inputs.some((name) => data.has(name)) || captures(node).some((name) => data.has(name));
    if (reads) for (const name of node.outputs) data.add(name);
  }
  return data;
}

function nodeContext(node: Node, facts: CouplingFacts, graph: Graph, links: UseDef): GraphContext {
  const nameOf = (operand: Operand): string => operandName(node, operand);
  return {
    node,
    opset: graph.opsets.get(node.domain) ?? 1,
    shape: (operand) => facts.types.get(nameOf(operand))?.shape,
    value: (index) => facts.values.get(node.inputs[index] ?? ""),
    producer: (value) => links.producer(value)?.node,
    readers: (value) => links.consumers(value).map((use) => use.node),
    known: (value) => facts.values.get(value),
    dynamic: (operand, axis) => isDynamic(facts, nameOf(operand), axis),
  };
}

function axisContext(
  context: GraphContext,
  algebra: AxisAlgebra,
  axes: (value: string) => readonly Term[] | undefined,
  found: {
    readonly sums: AxisUse[];
    readonly restricts: AxisUse[];
    readonly mixing: Mixing[];
    readonly heads: Term[];
    readonly data: ReadonlySet<string>;
  },
): AxisContext {
  const { node } = context;
  const axesOf = (operand: Operand): readonly Term[] | undefined => {
    const name = operandName(node, operand);
    return name === "" ? undefined : axes(name);
  };
  const note = (uses: AxisUse[], operand: Operand, axis: number, part?: Axis): void => {
    uses.push({ node, operand, axis });
    const mixed = part === undefined ? axesOf(operand)?.[axis] : term(part);
    if (mixed !== undefined) found.mixing.push({ node, axis: mixed });
  };
  return {
    ...context,
    axes: axesOf,
    fresh: (size) => algebra.leaf(size),
    product: (parts) => algebra.product(parts.map(term)),
    concat: (parts) => algebra.concat(parts.map(term)),
    unify: (a, b) => algebra.unify(term(a), term(b)),
    block: (axis, because, apart = false) => {
      algebra.block(term(axis), because);
      if (!apart) found.mixing.push({ node, axis: term(axis) });
    },
    isData: ({ side, index }) => side === "output" || found.data.has(node.inputs[index] ?? ""),
    heads: (axis) => found.heads.push(term(axis)),
    sums: (operand, axis, part) => note(found.sums, operand, axis, part),
    restricts: (operand, axis, part) => note(found.restricts, operand, axis, part),
  };
}

/** Rules only hand back axes that they were given or that the algebra made. */
function term(axis: Axis): Term {
  if (axis instanceof Term) return axis;
  throw new EspalierError("model", "axis rule", "expected an axis of this analysis, got a foreign object.");
}

type Found = Pick<Member, "parameter" | "axis" | "role">;

/** The leaves that lie in parameters, each with the places where it does. */
function collectMembers(
  graph: Graph,
  facts: CouplingFacts,
  algebra: AxisAlgebra,
  axes: (value: string) => readonly Term[] | undefined,
  kernels: (node: Node) => readonly Kernel[],
  links: UseDef,
): ReadonlyMap<Term, readonly Found[]> {
  const roles = new Map<string, Map<number, "output" | "input" | "kernel">>();
  const order: string[] = [];
  const seen = new Set<string>();
  for (const node of graph.nodes) {
    if (isBookkeeping(node, facts)) continue;
    for (const name of node.inputs) {
      const constant = graph.constants.get(name);
      if (constant === undefined || seen.has(name) || constant.shape.length === 0) continue;
      seen.add(name);
      if (isFloat(constant.dtype) || constant.dtype === "i8" || constant.dtype === "u8") order.push(name);
    }
    for (const kernel of kernels(node)) {
      const value = node.inputs[kernel.input] ?? "";
      const source = parameterBehind(value, graph, links, facts.types.get(value)?.shape.length ?? 2);
      if (source === undefined) continue;
      const marks = roles.get(source.parameter) ?? new Map<number, "output" | "input" | "kernel">();
      const at = (axis: number): number => source.axes?.[axis] ?? axis;
      for (const axis of kernel.outputs) marks.set(at(axis), "output");
      for (const [i, axis] of kernel.inputs.entries()) marks.set(at(axis), i === 0 ? "input" : "kernel");
      roles.set(source.parameter, marks);
    }
  }
  const found = new Map<Term, Found[]>();
  for (const parameter of order) {
    for (const [axis, root] of (axes(parameter) ?? []).entries()) {
      const role = roles.get(parameter)?.get(axis) ?? "other";
      if (role === "kernel") continue;
      const leaves = new Set(algebra.occurrences(root).map(({ leaf }) => leaf));
      for (const leaf of leaves) {
        const members = found.get(leaf) ?? [];
        members.push({ parameter, axis, role });
        found.set(leaf, members);
      }
    }
  }
  return found;
}

function groupsOf(
  found: ReadonlyMap<Term, readonly Found[]>,
  sets: ReadonlyMap<Term, readonly Term[]>,
  placement: Coupling["placement"],
): readonly Group[] {
  const taken = new Map<string, number>();
  return [...found].map(([leaf, members]) => {
    const parents = sets.get(leaf) ?? [];
    const first = members.find((member) => member.role === "output") ?? members[0];
    const base = first?.parameter ?? "group";
    const count = taken.get(base) ?? 0;
    taken.set(base, count + 1);
    return {
      id: count === 0 ? base : `${base}#${count + 1}`,
      size: leaf.size,
      sets: setCount(parents),
      parents,
      members: members.map((member) => ({
        ...member,
        placement: () => placement({ leaf, parents }, member.parameter, member.axis),
      })),
      blocked: [...(leaf.reasons ?? [])],
      leaf,
    };
  });
}
