import type { Algebra, Value } from "../graph/algebra/algebra.ts";
import { floatAttr, intAttr } from "../graph/attributes.ts";
import { sizeOf } from "../tensor/tensor.ts";
import { at, axisOf, broadcast, need, tie } from "./axis-rules.ts";
import { einsumGradient } from "./gradients/einsum-gradient.ts";
import { lowerFusedGemm, lowerFusedMatMul } from "./lowerings/fused.ts";
import { type AxisContext, type GradRule, input, type Kernel, type NodeContext, type OpSpec, output } from "./spec.ts";

/** a: [..., m, k], b: [..., k, n], y: [..., m, n]; vectors lose their axis. With `flips`, either side is transposed. */
function matMulAxes(c: AxisContext, transA: boolean, transB: boolean): void {
  const a = need(c, input(0));
  const b = need(c, input(1));
  const y = need(c, output(0));
  const aK = transA && a.length > 1 ? -2 : -1;
  const bK = b.length === 1 || transB ? -1 : -2;
  tie(c, at(a, aK), at(b, bK));
  c.sums(input(0), axisOf(a.length, aK));
  if (b.length > 1) tie(c, at(b, transB ? -2 : -1), at(y, -1));
  if (a.length > 1) tie(c, at(a, transA ? -1 : -2), at(y, b.length > 1 ? -2 : -1));
  const batch = y.slice(0, Math.max(0, y.length - (a.length > 1 ? 1 : 0) - (b.length > 1 ? 1 : 0)));
  broadcast(c, a.slice(0, -2), batch);
  broadcast(c, b.slice(0, -2), batch);
  if (c.isData(input(0)) && c.isData(input(1))) for (const axis of batch) c.heads(axis);
}

function matMulMacs(c: NodeContext): number {
  const a = c.shape(input(0)) ?? [];
  const y = c.shape(output(0)) ?? [];
  const k = a[intAttr(c.node, "transA", 0) === 1 ? a.length - 2 : a.length - 1] ?? 1;
  return sizeOf(y) * k;
}

/** Either operand may be the trained one; the caller knows which of them is a parameter. */
function kernelsOf(c: NodeContext, transA: boolean, transB: boolean): readonly Kernel[] {
  const a = c.shape(input(0));
  const b = c.shape(input(1));
  const kernels: Kernel[] = [];
  const rows = transA ? 1 : 0;
  if (b?.length === 2 && a !== undefined) {
    const data = { input: 0, axis: a.length - (transA ? 2 : 1) };
    kernels.push({ input: 1, outputs: [transB ? 0 : 1], inputs: [transB ? 1 : 0], data, groups: 1 });
  }
  if (a?.length === 2 && b !== undefined && b.length > 1) {
    const data = { input: 1, axis: b.length - (transB ? 1 : 2) };
    kernels.push({ input: 0, outputs: [rows], inputs: [1 - rows], data, groups: 1 });
  }
  return kernels;
}

/** A vector as a matrix of one row or one column. */
function asMatrix(g: Algebra, v: Value, side: "row" | "column"): Value {
  if (v.shape.length > 1) return v;
  return g.reshape(v, side === "row" ? [1, v.shape[0] ?? 1] : [v.shape[0] ?? 1, 1]);
}

/**
 * y = a·b, so da = dy·bᵀ and db = aᵀ·dy. a: [..., m, k], b: [..., k, n], dy: [..., m, n]. Broadcast batch axes are summed
 * by the caller; where b is one matrix for the whole batch, that sum is part of one product.
 */
const matMulGrad: GradRule = ({ g, x }, dy) => {
  const [a, b] = [asMatrix(g, x(0), "row"), asMatrix(g, x(1), "column")];
  const rows = a.shape.at(-2) ?? 1;
  const columns = b.shape.at(-1) ?? 1;
  const batch = dy.shape.slice(0, dy.shape.length - (x(0).shape.length > 1 ? 1 : 0) - (x(1).shape.length > 1 ? 1 : 0));
  const d = g.reshape(dy, [...batch, rows, columns]);
  const da = g.matMul(d, g.swapLast(b));
  const shared = b.shape.length === 2 && a.shape.length > 2;
  const flat = (v: Value): Value => g.reshape(v, [sizeOf(v.shape.slice(0, -1)), v.shape.at(-1) ?? 1]);
  const db = shared ? g.matMul(g.swapLast(flat(a)), flat(d)) : g.matMul(g.swapLast(a), d);
  // A vector's gradient comes as a matrix of one row or column, after a batch that it was repeated over.
  const back = (dv: Value, v: Value, axis: number): Value => {
    if (v.shape.length > 1) return dv;
    return g.sumTo(g.reshape(dv, [...dv.shape.slice(0, -2), dv.shape.at(axis) ?? 1]), v.shape);
  };
  return [back(da, x(0), -1), back(db, x(1), -2)];
};

export const matMul: OpSpec = {
  axes: (c) => matMulAxes(c, false, false),
  resize: null,
  macs: matMulMacs,
  kernels: (c) => kernelsOf(c, false, false),
  roles: null,
  grad: matMulGrad,
};

/** com.microsoft FusedMatMul: transA and transB transpose the last two axes; the batch forms are not understood. */
export const fusedMatMul: OpSpec = {
  axes: (c) => {
    if (intAttr(c.node, "transBatchA", 0) + intAttr(c.node, "transBatchB", 0) > 0) {
      for (const operand of [input(0), input(1), output(0)]) {
        for (const axis of need(c, operand)) c.block(axis, "FusedMatMul with transposed batch axes");
      }
    } else matMulAxes(c, intAttr(c.node, "transA", 0) === 1, intAttr(c.node, "transB", 0) === 1);
  },
  resize: null,
  macs: matMulMacs,
  kernels: (c) => kernelsOf(c, intAttr(c.node, "transA", 0) === 1, intAttr(c.node, "transB", 0) === 1),
  roles: null,
  grad: { lower: lowerFusedMatMul },
};

/** y = α·a'·b' + β·c: the primes say that a or b may come transposed, and so does its gradient. */
const gemmGrad: GradRule = (c, dy) => {
  const { g, x, has } = c;
  const [transA, transB] = [intAttr(c.node, "transA", 0) === 1, intAttr(c.node, "transB", 0) === 1];
  const d = g.mul(dy, floatAttr(c.node, "alpha", 1));
  const dT = g.swapLast(d);
  const [a, b] = [x(0), x(1)];
  const da = transA ? g.matMul(transB ? g.swapLast(b) : b, dT) : g.matMul(d, transB ? b : g.swapLast(b));
  const db = transB ? g.matMul(dT, transA ? g.swapLast(a) : a) : g.matMul(transA ? a : g.swapLast(a), d);
  return [da, db, has(2) ? g.mul(dy, floatAttr(c.node, "beta", 1)) : null];
};

/** y = alpha * a' * b' + beta * c; a': [m, k], b': [k, n], c broadcasts to [m, n]. */
export const gemm: OpSpec = {
  axes: (c) => {
    matMulAxes(c, intAttr(c.node, "transA", 0) === 1, intAttr(c.node, "transB", 0) === 1);
    const bias = c.axes(input(2));
    if (bias !== undefined) broadcast(c, bias, need(c, output(0)));
  },
  resize: null,
  macs: matMulMacs,
  kernels: (c) => kernelsOf(c, intAttr(c.node, "transA", 0) === 1, intAttr(c.node, "transB", 0) === 1),
  roles: { bias: 2 },
  grad: gemmGrad,
};

/** com.microsoft FusedGemm: a Gemm through an activation. */
export const fusedGemm: OpSpec = { ...gemm, grad: { lower: lowerFusedGemm } };

/** Letters that occur in several terms are one axis; letters that the result lacks are summed over. */
export const einsum: OpSpec = {
  axes: (c) => {
    const { terms, result } = letters(c);
    const known = new Map<string, ReturnType<typeof need>[number]>();
    for (const [index, term] of [...terms, result].entries()) {
      const operand = index < terms.length ? input(index) : output(0);
      const axes = need(c, operand);
      for (const [i, letter] of [...term].entries()) {
        const axis = axes[i];
        if (axis === undefined) continue;
        const other = known.get(letter);
        if (other === undefined) known.set(letter, axis);
        else c.unify(axis, other);
        const apart = index === 1 && terms[0]?.includes(letter) === true && result.includes(letter);
        if (apart && c.isData(input(0)) && c.isData(input(1))) c.heads(axis);
        if (index < terms.length && !result.includes(letter) && firstWith(terms, letter) === index) {
          c.sums(operand, i);
        }
      }
    }
  },
  resize: null,
  macs: (c) => {
    const { terms } = letters(c);
    const sizes = new Map<string, number>();
    for (const [index, term] of terms.entries()) {
      for (const [i, letter] of [...term].entries()) sizes.set(letter, c.shape(input(index))?.[i] ?? 1);
    }
    return terms.length < 2 ? 0 : sizeOf([...sizes.values()]);
  },
  kernels: null,
  roles: null,
  grad: einsumGradient(letters),
};

function firstWith(terms: readonly string[], letter: string): number {
  return terms.findIndex((term) => term.includes(letter));
}

/** The letters of each operand, with "..." spelled out as digits aligned from the right. */
function letters(c: NodeContext): { terms: string[]; result: string } {
  const attribute = c.node.attributes.get("equation");
  const equation = (attribute?.kind === "string" ? attribute.value : "").replaceAll(" ", "");
  const [left = "", right] = equation.split("->");
  const ellipses = "0123456789";
  const open = (term: string, rank: number): string => {
    const extra = rank - (term.length - 3);
    return term.includes("...") ? term.replace("...", ellipses.slice(10 - extra)) : term;
  };
  const terms = left.split(",").map((term, i) => open(term, c.shape(input(i))?.length ?? 0));
  const all = [...left.replaceAll(/[.,]/g, "")];
  const implicit = [...new Set(all)].filter((letter) => all.indexOf(letter) === all.lastIndexOf(letter)).sort();
  const rank = c.shape(output(0))?.length ?? 0;
  const dots = left.includes("...") ? "..." : "";
  return { terms, result: open(right ?? `${dots}${implicit.join("")}`, rank) };
}
