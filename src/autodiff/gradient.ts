import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import { broadcastShapes } from "../graph/algebra/broadcast.ts";
import { describeNode, graphAttrs } from "../graph/attributes.ts";
import type { Node } from "../graph/graph.ts";
import { sortNodes } from "../graph/topological.ts";
import type { GradContext, GradRule } from "../ops/spec.ts";
import { opSpec } from "../ops/table.ts";
import { bitsOf, isFloat } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { formatShape, sizeOf } from "../tensor/tensor.ts";
import { formulaContext, gradientOf } from "./formulas.ts";

/** What to do with a value that nothing flows back to: refuse, or say that its gradient is zero. */
export interface GradientOptions {
  readonly unreached?: "refuse" | "zero";
  /**
   * A runtime's `channelBlock`: gradients may use operators that only such a processor has, and that have no gradient in turn.
   * Default 0.
   */
  readonly channelBlock?: number;
}

/**
 * Writes the gradient of a scalar with respect to any values (parameters, inputs, inner values) behind the graph that
 * computes it. Everything written is differentiable in turn, unless it is in blocks of channels. The graph is one that `sized` made.
 * Gradients have the types of their values; those of values that are stored in 16 bits are float32.
 * Throws `gradient` where the loss is no scalar, a value does not reach it, or an operator on the way has no gradient.
 */
export function gradient(
  g: Algebra,
  loss: Value,
  wrt: Iterable<string>,
  options: GradientOptions = {},
): ReadonlyMap<string, Value> {
  if (sizeOf(loss.shape) !== 1) {
    const message = `expected a loss of one number, got ${formatShape(loss.shape)}.`;
    throw new EspalierError("gradient", `value "${loss.name}"`, message, "Reduce it with a sum or a mean.");
  }
  return pullBack(g, new Map([[loss.name, g.expand(1, loss.shape, loss.dtype)]]), wrt, options);
}

/**
 * Vector-Jacobian products: given the gradients of some values, writes those of others. `seeds` has one value of the
 * same shape for each name.
 */
function pullBack(
  g: Algebra,
  seeds: ReadonlyMap<string, Value>,
  wrt: Iterable<string>,
  { unreached = "refuse", channelBlock = 0 }: GradientOptions = {},
): ReadonlyMap<string, Value> {
  const wanted = [...wrt];
  for (const name of [...wanted, ...seeds.keys()]) requireFloat(g, name);
  const nodes = sortNodes(g.draft.nodes());
  const path = pathBetween(g, nodes, wanted, seeds.keys());
  refuseWithoutGradient(path);
  const arrived = new Map<string, Value[]>();
  const arrive = (name: string, value: Value): void => {
    const known = arrived.get(name);
    if (known === undefined) arrived.set(name, [value]);
    else known.push(value);
  };
  for (const [name, seed] of seeds) arrive(name, fitted(g, seed, name));
  const collected = (name: string): Value | null => {
    const parts = arrived.get(name);
    if (parts === undefined) return null;
    const sum = g.total(parts);
    arrived.set(name, [sum]);
    return sum;
  };
  for (const { node, rule, active } of path.toReversed()) {
    const received = node.outputs.map((name) => (name === "" ? null : collected(name)));
    if (rule === null || received.every((dy) => dy === null)) continue;
    const context: GradContext = {
      ...formulaContext(g, node),
      dy: (index) => received[index] ?? null,
      wanted: (index) => active.has(node.inputs[index] ?? ""),
      channelBlock,
    };
    const zeros = (): Value => g.expand(0, context.y(0).shape, context.y(0).dtype);
    const gradients = rule(context, received[0] ?? zeros());
    for (const [index, name] of node.inputs.entries()) {
      const value = gradients[index];
      if (value !== undefined && value !== null && active.has(name)) arrive(name, fitted(g, value, name));
    }
  }
  return new Map(
    wanted.map((name) => {
      const found = collected(name);
      if (found === null && unreached === "refuse") throw notReached(name);
      return [name, found ?? g.expand(0, g.of(name).shape, typeOfGradient(g, name))];
    }),
  );
}

/** A node that gradients pass through, and those of its inputs that lead on to what is asked for. */
interface Passage {
  readonly node: Node;
  /** Null for an operator without a gradient. */
  readonly rule: GradRule | null;
  readonly active: ReadonlySet<string>;
}

/** The nodes between `wanted` and `ends`, in order. */
function pathBetween(
  g: Algebra,
  nodes: readonly Node[],
  wanted: readonly string[],
  ends: Iterable<string>,
): readonly Passage[] {
  const dependent = new Set(wanted);
  const forward: Passage[] = [];
  for (const node of nodes) {
    const found = gradientOf(node);
    const active = new Set(node.inputs.filter((name) => dependent.has(name)));
    if (active.size === 0 || found === "flat" || node.outputs.some((name) => g.stopped(name))) continue;
    const floats = node.outputs.filter((name) => name !== "" && g.has(name) && isFloat(g.of(name).dtype));
    if (floats.length === 0) continue;
    for (const name of floats) dependent.add(name);
    forward.push({ node, rule: typeof found === "function" ? found : (found?.rule ?? null), active });
  }
  const needed = new Set(ends);
  const path: Passage[] = [];
  for (const passage of forward.toReversed()) {
    if (!passage.node.outputs.some((name) => needed.has(name))) continue;
    for (const name of passage.active) needed.add(name);
    path.push(passage);
  }
  return path.reverse();
}

function refuseWithoutGradient(path: readonly Passage[]): void {
  const stuck = path.filter(({ rule }) => rule === null).map(({ node }) => node);
  const [first] = stuck;
  if (first === undefined) return;
  const kinds = [...new Set(stuck.map(({ domain, op }) => (domain === "" ? op : `${domain}::${op}`)))].sort();
  const loops = graphAttrs(first).length > 0 ? " Fix the condition of an If with --fix." : "";
  throw new EspalierError(
    "gradient",
    describeNode(first),
    `expected operators with a gradient between the parameters and the loss, got ${stuck.length} without: ${kinds.slice(0, 5).join(", ")}${kinds.length > 5 ? ", ..." : ""}.`,
    `Train only what comes behind them, or export the model with other operators.${loops}`,
  );
}

/** The gradient in the shape of what it belongs to: what broadcasting repeated is summed. */
function fitted(g: Algebra, value: Value, name: string): Value {
  const { shape } = g.of(name);
  const common = broadcastShapes("gradient", value.shape, shape);
  return g.cast(g.sumTo(g.expand(value, common), shape), typeOfGradient(g, name));
}

/**
 * The type of what a gradient belongs to, which the formulas behind an operator compute in. What is only stored in 16 bits, and moved or cast
 * before anything is computed with it, has its gradient in float32: float16 knows no number between 0 and 6e-8.
 */
function typeOfGradient(g: Algebra, name: string): Value["dtype"] {
  const { dtype } = g.of(name);
  if (bitsOf(dtype) >= 32) return dtype;
  const maker = g.draft.producer(name);
  const roles = maker === undefined ? null : opSpec(maker.domain, maker.op)?.roles;
  const isMoved = roles?.carries !== undefined || roles?.table !== undefined;
  return maker === undefined || isMoved ? "f32" : dtype;
}

function requireFloat(g: Algebra, name: string): void {
  const { dtype } = g.of(name);
  if (isFloat(dtype)) return;
  throw new EspalierError("gradient", `value "${name}"`, `expected a float to differentiate by, got ${dtype}.`);
}

function notReached(name: string): EspalierError {
  return new EspalierError(
    "gradient",
    `parameter "${name}"`,
    "expected a value that the loss depends on, got one that does not reach it.",
    "Leave it out of what is trained, or take a loss on an output that depends on it.",
  );
}
