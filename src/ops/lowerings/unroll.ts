import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { float, int, intAttr, stringAttr } from "../../graph/attributes.ts";
import type { Node } from "../../graph/graph.ts";
import { toInts } from "../../tensor/numeric.ts";
import type { FormulaContext } from "../spec.ts";

/** What one direction of a recurrent layer computes with. */
export interface Cell {
  readonly g: Algebra;
  readonly node: Node;
  /** Rᵀ: [h, gates·h]. */
  readonly recurrent: Value;
  /** Biases of the recurrent product where they are not in the input's part: [gates·h]. */
  readonly recurrentBias: Value | null;
  /** [parts·h] or [batch, parts·h] in equal parts. */
  readonly parts: (x: Value, count: number) => readonly Value[];
  /** Weights from the cell state to gates: [3·h]; null without. */
  readonly peepholes: Value | null;
  /** Activation functions in the operator's order. */
  readonly f: (index: number, x: Value) => Value;
}

/** How a recurrent operator is built. */
export interface Recurrence {
  readonly gates: number;
  /** Default activation functions of one direction. */
  readonly activations: readonly string[];
  /** Inputs that hold the initial states; the hidden state comes first. */
  readonly states: readonly number[];
  /** True where the recurrent biases stand outside of products of gates, so that they are added once for all steps. */
  readonly sumsBiases: (node: Node) => boolean;
  readonly step: (cell: Cell) => Step;
}

/** `x` is the input's part of all gates, [batch, gates·h]; states [batch, h] to states. */
export type Step = (x: Value, states: readonly Value[]) => readonly Value[];

/**
 * A recurrent layer with every step of time written out, so that it differentiates like any other graph.
 * X: [time, batch, i], W: [dirs, gates·h, i], R: [dirs, gates·h, h], B: [dirs, 2·gates·h], states: [dirs, batch, h] →
 * Y: [time, dirs, batch, h] and the last states. The input's part of all steps is one product.
 */
export function unrolled(c: FormulaContext, recurrence: Recurrence): readonly Value[] {
  refuseForms(c);
  const { g } = c;
  const direction = stringAttr(c.node, "direction", "forward");
  const backwards = direction === "bidirectional" ? [false, true] : [direction === "reverse"];
  const results = backwards.map((reversed, d) => oneDirection(c, recurrence, reversed, d));
  const [batch = 0, hidden = 0] = [c.x(0).shape[1], c.x(2).shape[2]];
  const last = recurrence.states.map((_, i) =>
    g.concat(
      results.map(({ states }) => g.reshape(states[i] ?? g.scalar(0), [1, batch, hidden])),
      0,
    ),
  );
  return [
    g.concat(
      results.map(({ outputs }) => outputs),
      1,
    ),
    ...last,
  ];
}

function oneDirection(
  c: FormulaContext,
  { activations, states, sumsBiases, step }: Recurrence,
  reversed: boolean,
  d: number,
): { readonly outputs: Value; readonly states: readonly Value[] } {
  const { g } = c;
  const [time = 0, batch = 0, features = 0] = c.x(0).shape;
  const hidden = c.x(2).shape[2] ?? 0;
  const own = (index: number): Value => {
    const one = g.slice(c.x(index), 0, d, d + 1);
    return g.reshape(one, one.shape.slice(1));
  };
  const parts = (x: Value, count: number): readonly Value[] => equalParts(g, x, x.shape.length - 1, count);
  const [inputBias, recurrentBias] = c.has(3) ? parts(own(3), 2) : [];
  const together = sumsBiases(c.node);
  const functions = activationsOf(c, activations);
  const advance = step({
    g,
    node: c.node,
    recurrent: g.swapLast(own(2)),
    recurrentBias: together ? null : (recurrentBias ?? null),
    parts,
    peepholes: c.has(7) ? own(7) : null,
    f: (index, x) => functions[d * activations.length + index]?.(x) ?? x,
  });
  let all = g.matMul(g.reshape(c.x(0), [time * batch, features]), g.swapLast(own(1)));
  if (inputBias !== undefined) all = g.add(all, together ? g.add(inputBias, recurrentBias ?? 0) : inputBias);
  const steps = equalParts(g, all, 0, time);
  let now: readonly Value[] = states.map((i) => (c.has(i) ? own(i) : g.expand(0, [batch, hidden], all.dtype)));
  const outputs: Value[] = [];
  for (const x of reversed ? steps.toReversed() : steps) {
    now = advance(x, now);
    outputs.push(...now.slice(0, 1).map((h) => g.reshape(h, [1, 1, batch, hidden])));
  }
  return { outputs: g.concat(reversed ? outputs.toReversed() : outputs, 0), states: now };
}

function equalParts(g: Algebra, x: Value, axis: number, count: number): readonly Value[] {
  if (count === 1) return [x];
  const size = (x.shape[axis] ?? 0) / count;
  const type = { dtype: x.dtype, shape: x.shape.map((n, i) => (i === axis ? size : n)) };
  const sizes = g.int64(Array.from({ length: count }, () => size));
  return g.ops(
    "Split",
    [x, sizes],
    { axis: int(axis) },
    Array.from({ length: count }, () => type),
  );
}

/** The forms that are not written out. */
function refuseForms(c: FormulaContext): void {
  const [time = 0] = c.x(0).shape;
  if (intAttr(c.node, "layout", 0) !== 0) c.refuse("its batch comes before its time (layout = 1)");
  if (c.node.attributes.has("clip")) c.refuse("it clips its gates");
  if (intAttr(c.node, "input_forget", 0) !== 0) c.refuse("its input and forget gates are one");
  if (!c.has(4)) return;
  const lengths = c.value(4);
  if (lengths === undefined || toInts(lengths).some((n) => n !== time))
    c.refuse("its sequences have lengths of their own");
}

/** A function of a gate and how many numbers of `activation_alpha` and `activation_beta` it takes, with their defaults. */
interface Activation {
  readonly alpha?: number;
  readonly beta?: number;
  readonly apply: (g: Algebra, x: Value, alpha: number, beta: number) => Value;
}

const gateFunctions: Readonly<Record<string, Activation>> = {
  affine: { alpha: 1, beta: 0, apply: (g, x, alpha, beta) => g.add(g.mul(x, alpha), beta) },
  elu: { alpha: 1, apply: (g, x, alpha) => g.map("Elu", x, { alpha: float(alpha) }) },
  hardsigmoid: {
    alpha: 0.2,
    beta: 0.5,
    apply: (g, x, alpha, beta) => g.map("HardSigmoid", x, { alpha: float(alpha), beta: float(beta) }),
  },
  leakyrelu: { alpha: 0.01, apply: (g, x, alpha) => g.map("LeakyRelu", x, { alpha: float(alpha) }) },
  relu: { apply: (g, x) => g.map("Relu", x) },
  scaledtanh: { alpha: 1, beta: 1, apply: (g, x, alpha, beta) => g.mul(g.tanh(g.mul(x, beta)), alpha) },
  sigmoid: { apply: (g, x) => g.sigmoid(x) },
  softplus: { apply: (g, x) => g.map("Softplus", x) },
  softsign: { apply: (g, x) => g.map("Softsign", x) },
  tanh: { apply: (g, x) => g.tanh(x) },
  thresholdedrelu: { alpha: 1, apply: (g, x, alpha) => g.map("ThresholdedRelu", x, { alpha: float(alpha) }) },
};

/** The functions of all directions one after the other; each takes its numbers from the front of the lists. */
function activationsOf(c: FormulaContext, defaults: readonly string[]): readonly ((x: Value) => Value)[] {
  const named = c.node.attributes.get("activations");
  const names = named?.kind === "strings" ? named.value : [...defaults, ...defaults];
  const numbers = (name: string): number[] => {
    const list = c.node.attributes.get(name);
    return list?.kind === "floats" ? [...list.value] : [];
  };
  const alphas = numbers("activation_alpha");
  const betas = numbers("activation_beta");
  return names.map((name) => {
    const found = gateFunctions[name.toLowerCase()] ?? c.refuse(`it has an activation called "${name}"`);
    const alpha = found.alpha === undefined ? 0 : (alphas.shift() ?? found.alpha);
    const beta = found.beta === undefined ? 0 : (betas.shift() ?? found.beta);
    return (x) => found.apply(c.g, x, alpha, beta);
  });
}
