import type { Value } from "../graph/algebra/algebra.ts";
import { intAttr } from "../graph/attributes.ts";
import type { Node } from "../graph/graph.ts";
import { blockAxis, need, tie } from "./axis-rules.ts";
import { type Recurrence, unrolled } from "./lowerings/unroll.ts";
import { type AxisContext, input, type NodeContext, type OpSpec, output } from "./spec.ts";

/**
 * Recurrent layers. X: [time, batch, i] (layout 0), W: [dirs, gates·h, i], R: [dirs, gates·h, h], B: [dirs, 2·gates·h],
 * states: [dirs, batch, h], P: [dirs, 3·h], Y: [time, dirs, batch, h]. One hidden unit is one index of h in every gate.
 */
function recurrentAxes(c: AxisContext, gates: number): void {
  const x = need(c, input(0));
  const w = need(c, input(1));
  const r = need(c, input(2));
  const hidden = r[2];
  if (hidden === undefined) return;
  const layout = c.node.attributes.get("layout");
  const batchFirst = layout?.kind === "int" && layout.value === 1;
  const [time, batch] = batchFirst ? [x[1], x[0]] : [x[0], x[1]];
  blockAxis(c, time, "time");
  if (w[0] !== undefined) c.block(w[0], "directions of a recurrent layer", true);
  const perGate = (copies: number): ReturnType<AxisContext["fresh"]> => {
    const gate = c.fresh(copies);
    if (copies > 1) c.block(gate, "gates of a recurrent layer");
    return c.product([gate, hidden]);
  };
  tie(c, w[1], perGate(gates));
  tie(c, r[1], perGate(gates));
  tie(c, r[0], w[0]);
  tie(c, w[2], x[2]);
  c.sums(input(0), 2);
  c.sums(input(2), 2);
  const bias = c.axes(input(3));
  if (bias !== undefined) {
    const halves = c.fresh(2);
    c.block(halves, "input and recurrent bias");
    tie(c, bias[0], w[0]);
    tie(c, bias[1], c.product([halves, perGate(gates)]));
  }
  const peephole = c.axes(input(7));
  if (peephole !== undefined) tie(c, peephole[1], perGate(3));
  const state = (axes: ReturnType<AxisContext["axes"]>): void => {
    if (axes === undefined) return;
    const [dirs, rows] = batchFirst ? [axes[1], axes[0]] : [axes[0], axes[1]];
    tie(c, dirs, w[0]);
    tie(c, rows, batch);
    tie(c, axes[2], hidden);
  };
  for (const operand of [input(5), input(6), output(1), output(2)]) state(c.axes(operand));
  const y = c.axes(output(0));
  if (y === undefined) return;
  const [yTime, yDirs, yBatch] = batchFirst ? [y[1], y[2], y[0]] : [y[0], y[1], y[2]];
  tie(c, yTime, time);
  tie(c, yDirs, w[0]);
  tie(c, yBatch, batch);
  tie(c, y[3], hidden);
}

function recurrentMacs(c: NodeContext): number {
  const x = c.shape(input(0)) ?? [];
  const w = c.shape(input(1)) ?? [];
  const r = c.shape(input(2)) ?? [];
  const steps = (x[0] ?? 1) * (x[1] ?? 1);
  return steps * (w[0] ?? 1) * (w[1] ?? 1) * ((w[2] ?? 0) + (r[2] ?? 0));
}

const recurrent = (recurrence: Recurrence): OpSpec => ({
  axes: (c) => recurrentAxes(c, recurrence.gates),
  resize: (c) => {
    const hidden = c.newShape(input(2))?.[2];
    return hidden === undefined || c.kept(input(2), 2) === null ? {} : { attributes: { hidden_size: hidden } };
  },
  macs: recurrentMacs,
  kernels: () => [
    { input: 1, outputs: [1], inputs: [2], data: { input: 0, axis: 2 }, groups: 1 },
    { input: 2, outputs: [1], inputs: [2], data: null, groups: 1 },
  ],
  roles: { bias: 3 },
  grad: { lower: (c) => unrolled(c, recurrence) },
});

/** i, o, f = f(x + h·Rᵀ + p∘c), where o sees the new c; c' = f∘c + i∘g(·); h' = o∘h(c'). Gates come as i, o, f, c. */
export const lstm = recurrent({
  gates: 4,
  activations: ["Sigmoid", "Tanh", "Tanh"],
  states: [5, 6],
  sumsBiases: () => true,
  step: ({ g, recurrent: r, parts, peepholes, f }) => {
    const [pi, po, pf] = peepholes === null ? [] : parts(peepholes, 3);
    return (x, [h = x, c = x]) => {
      const [i = x, o = x, keep = x, fresh = x] = parts(g.add(x, g.matMul(h, r)), 4);
      const looking = (gate: Value, weight: Value | undefined, state: Value): Value =>
        f(0, weight === undefined ? gate : g.add(gate, g.mul(weight, state)));
      const next = g.add(g.mul(looking(keep, pf, c), c), g.mul(looking(i, pi, c), f(1, fresh)));
      return [g.mul(looking(o, po, next), f(2, next)), next];
    };
  },
});

const resetsAfter = (node: Node): boolean => intAttr(node, "linear_before_reset", 0) !== 0;

/** z, r = f(x + h·Rᵀ); n = g(x + (r∘h)·Rᵀ + b), or g(x + r∘(h·Rᵀ + b)); h' = (1 − z)∘n + z∘h. Gates come as z, r, n. */
export const gru = recurrent({
  gates: 3,
  activations: ["Sigmoid", "Tanh"],
  states: [5],
  sumsBiases: (node) => !resetsAfter(node),
  step: ({ g, node, recurrent: r, recurrentBias, parts, f }) => {
    const hidden = r.shape[0] ?? 0;
    const mixed = (z: Value, h: Value, fresh: Value): readonly Value[] => [g.add(fresh, g.mul(z, g.sub(h, fresh)))];
    if (resetsAfter(node)) {
      return (x, [h = x]) => {
        const [xz = x, xr = x, xn = x] = parts(x, 3);
        const [hz = x, hr = x, hn = x] = parts(g.add(g.matMul(h, r), recurrentBias ?? 0), 3);
        return mixed(f(0, g.add(xz, hz)), h, f(1, g.add(xn, g.mul(f(0, g.add(xr, hr)), hn))));
      };
    }
    const gates = g.slice(r, 1, 0, 2 * hidden);
    const fresh = g.slice(r, 1, 2 * hidden, 3 * hidden);
    return (x, [h = x]) => {
      const [xz = x, xr = x, xn = x] = parts(x, 3);
      const [hz = x, hr = x] = parts(g.matMul(h, gates), 2);
      const reset = g.mul(f(0, g.add(xr, hr)), h);
      return mixed(f(0, g.add(xz, hz)), h, f(1, g.add(xn, g.matMul(reset, fresh))));
    };
  },
});

/** h' = f(x + h·Rᵀ). */
export const rnn = recurrent({
  gates: 1,
  activations: ["Tanh"],
  states: [5],
  sumsBiases: () => true,
  step:
    ({ g, recurrent: r, f }) =>
    (x, [h = x]) => [f(0, g.add(x, g.matMul(h, r)))],
});
