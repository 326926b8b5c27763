import type { Coupling, CouplingFacts } from "../coupling/couple.ts";
import type { Draft } from "../graph/edit.ts";
import type { Attribute, Node } from "../graph/graph.ts";
import { type Operand, operandName, type Resize, type ResizeContext } from "../ops/spec.ts";
import { opSpec } from "../ops/table.ts";
import { isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { fromFloats, fromInts, toFloat64, toInts } from "../tensor/numeric.ts";
import { formatShape, type HostTensor } from "../tensor/tensor.ts";
import type { Kept } from "./kept.ts";

/**
 * Gives a node the attributes and operands that fit the sizes after the cut. `cut` knows constants that were cut: a factor
 * goes into those that nobody else reads.
 */
export function resizeNode(
  draft: Draft,
  node: Node,
  coupling: Coupling,
  facts: CouplingFacts,
  kept: Kept,
  cut: ReadonlyMap<string, HostTensor> = new Map(),
): void {
  const resize = opSpec(node.domain, node.op)?.resize;
  if (resize === undefined || resize === null) return;
  const change = resize(resizeContext(node, coupling, kept));
  if (change.attributes !== undefined) {
    const entries = Object.entries(change.attributes).map(([name, value]): [string, Attribute | null] => {
      if (value === null) return [name, null];
      if (typeof value === "number") return [name, { kind: "int", value }];
      if ("float" in value) return [name, { kind: "float", value: value.float }];
      return [name, { kind: "ints", value }];
    });
    draft.setAttributes(node, Object.fromEntries(entries));
  }
  const label = node.name || node.outputs[0] || node.op;
  for (const [index, list] of change.operands ?? []) {
    const before = facts.types.get(node.inputs[index] ?? "")?.dtype;
    const dtype = before === "i32" ? "i32" : "i64";
    // The end of a slice that reaches the end of an uncut axis stays "to the end" in either width.
    const limit = dtype === "i32" ? 0x7fffffff : Number.MAX_SAFE_INTEGER;
    const values = list.map((n) => Math.min(n, limit));
    draft.setInput(node, index, draft.constant(fromInts(dtype, [values.length], values), `${label}_sizes`));
  }
  for (const { operand, by } of change.scaled ?? []) scale(draft, node, operand, by, facts, cut);
  if (change.sizes !== undefined) resizeList(draft, node, change.sizes, facts, kept, label);
}

/** Multiplies an operand of a node. */
function scale(
  draft: Draft,
  node: Node,
  operand: Operand,
  by: number,
  facts: CouplingFacts,
  cut: ReadonlyMap<string, HostTensor>,
): void {
  const { side, index } = operand;
  const name = operandName(side === "input" ? draft.current(node) : node, operand);
  const dtype = facts.types.get(name)?.dtype;
  if (dtype === undefined || !isFloat(dtype)) return;
  const factor = (): string => draft.constant(fromFloats(dtype, [], Float64Array.of(by)), "ratio");
  if (side === "output") {
    draft.replaceUses(name, draft.op("Mul", [name, factor()], {}, draft.fresh(`${name}_scaled`)));
    return;
  }
  const constant = cut.get(name);
  if (constant === undefined || draft.consumers(name).length > 1) {
    const scaled = draft.op("Mul", [name, factor()], {}, draft.fresh(`${name}_scaled`), { before: node });
    draft.setInput(node, index, scaled);
    return;
  }
  const values = toFloat64(constant).map((n) => n * by);
  draft.setConstant(name, fromFloats(dtype, constant.shape, values));
}

/** Replaces the operand that lists the sizes of output 0. */
function resizeList(
  draft: Draft,
  node: Node,
  { input, dims, infers }: NonNullable<Resize["sizes"]>,
  facts: CouplingFacts,
  kept: Kept,
  label: string,
): void {
  const name = node.inputs[input] ?? "";
  const known = facts.values.get(name);
  const before = known === undefined ? undefined : toInts(known);
  const old = facts.types.get(node.outputs[0] ?? "")?.shape ?? [];
  const dynamic = dims.filter((n) => n === "dynamic");
  const written = draft.producer(name) === undefined ? before : undefined;
  const asConstant = (sizes: readonly number[]): void => {
    draft.setInput(node, input, draft.int64(sizes, [sizes.length], `${label}_shape`));
  };
  if (written !== undefined || dynamic.length === 0 || (dynamic.length === 1 && infers)) {
    asConstant(dims.map((n, i) => (n === "dynamic" ? (written?.[i] ?? -1) : n)));
    return;
  }
  // Several sizes follow the input: those keep what the model computes, or their share of it, the others become fixed.
  if (before === undefined || before.length !== dims.length) {
    throw new EspalierError(
      "model",
      `${label} (${node.op})`,
      `expected a list of ${dims.length} sizes that can be computed beforehand, got one for ${formatShape(old)} that cannot.`,
      "Fix the model's input sizes with --shape, or leave the group out with --ignore.",
    );
  }
  const fixed = dims.map((n) => (n === "dynamic" ? 0 : n));
  const pick = draft.constant(
    fromInts(
      "bool",
      [dims.length],
      dims.map((n) => (n === "dynamic" ? 0 : 1)),
    ),
    `${label}_fixed`,
  );
  const sizes = draft.int64(fixed, [fixed.length], `${label}_shape`);
  draft.setInput(
    node,
    input,
    draft.op(
      "Where",
      [pick, sizes, shareOf(draft, node, name, dims, facts, kept, label)],
      {},
      draft.fresh(`${label}_shape`),
      { before: node },
    ),
  );
}

/**
 * The list of sizes that the model computes, where a size that follows the input also lost positions times the share that
 * is left: batch times heads, say. Throws `model` where the share does not give whole sizes at other input sizes.
 */
function shareOf(
  draft: Draft,
  node: Node,
  list: string,
  dims: NonNullable<Resize["sizes"]>["dims"],
  facts: CouplingFacts,
  kept: Kept,
  label: string,
): string {
  const output = node.outputs[0] ?? "";
  const old = facts.types.get(output)?.shape ?? [];
  const left = old.map((n, i) => (dims[i] === "dynamic" ? (kept.positions(output, i)?.length ?? n) : n));
  if (left.every((n, i) => n === old[i])) return list;
  const other = facts.otherShapes.get(output) ?? [];
  for (const [i, n] of other.entries()) {
    const [now, before] = [left[i] ?? n, old[i] ?? n];
    if (now === before || (n * now) % before === 0) continue;
    throw new EspalierError(
      "model",
      `${label} (${node.op})`,
      `expected axis ${i} to be a multiple of what is cut at every input size, got ${before} and ${n} of which ${now} of ${before} stay.`,
      "Fix the model's input sizes with --shape, or leave the group out with --ignore.",
    );
  }
  const whole = (name: string, sizes: readonly number[]): string =>
    draft.int64(sizes, [sizes.length], `${label}_${name}`);
  const grown = draft.op("Mul", [list, whole("left", left)], {}, draft.fresh(`${label}_left`), { before: node });
  return draft.op("Div", [grown, whole("of", old)], {}, draft.fresh(`${label}_share`), { before: node });
}

function resizeContext(node: Node, coupling: Coupling, kept: Kept): ResizeContext {
  const base = coupling.context(node);
  const nameOf = (operand: Operand): string => operandName(node, operand);
  return {
    ...base,
    newShape: (operand) => base.shape(operand)?.map((n, i) => kept.positions(nameOf(operand), i)?.length ?? n),
    kept: (operand, axis) => kept.positions(nameOf(operand), axis),
  };
}
