import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { type Attributes, float, floatAttr, intAttr, stringAttr } from "../../graph/attributes.ts";
import type { Attribute } from "../../graph/graph.ts";
import type { FormulaContext } from "../spec.ts";

/** What a fused node does to its result: an operator of the standard, with its numbers in the order of its attributes. */
function activated(c: FormulaContext, y: Value): Value {
  const { g, node } = c;
  const op = stringAttr(node, "activation", "");
  if (op === "") return y;
  const listed = node.attributes.get("activation_params");
  const numbers = listed?.kind === "floats" ? listed.value : [];
  if (op === "Clip") return g.min(g.max(y, numbers[0] ?? -3.4e38), numbers[1] ?? 3.4e38);
  const named = op === "HardSigmoid" ? ["alpha", "beta"] : ["alpha"];
  const own = (name: string, i: number): readonly (readonly [string, Attribute])[] => {
    const given = numbers[i] ?? (node.op === "FusedGemm" ? c.node.attributes.get(`activation_${name}`) : undefined);
    if (typeof given === "number") return [[name, float(given)]];
    return given === undefined ? [] : [[name, given]];
  };
  return g.map(op, y, Object.fromEntries(named.flatMap(own)));
}

/** The node's own attributes without those of its activation. */
function plainAttributes(c: FormulaContext): Attributes {
  return Object.fromEntries([...c.node.attributes].filter(([name]) => !name.startsWith("activation")));
}

/** com.microsoft FusedConv: a convolution, plus a fourth input, through an activation. */
export function lowerFusedConv(c: FormulaContext): readonly Value[] {
  const { g, x } = c;
  const operands = [x(0), x(1), ...(c.has(2) ? [x(2)] : [])];
  const y = g.op("Conv", operands, plainAttributes(c), c.y(0));
  return [activated(c, c.has(3) ? g.add(y, x(3)) : y)];
}

/** com.microsoft FusedGemm: a Gemm through an activation. */
export function lowerFusedGemm(c: FormulaContext): readonly Value[] {
  const operands = [c.x(0), c.x(1), ...(c.has(2) ? [c.x(2)] : [])];
  return [activated(c, c.g.op("Gemm", operands, plainAttributes(c), c.y(0)))];
}

/** The axes of a batch: the first one stands behind the rows where `transBatch` says so. */
function unpacked(g: Algebra, v: Value, batchBehind: boolean, turned: boolean): Value {
  const rank = v.shape.length;
  if (rank < 2) return v;
  const middle = Array.from({ length: Math.max(rank - 3, 0) }, (_, i) => i + 1);
  const behind = batchBehind && rank > 2 ? g.transpose(v, [...middle, rank - 2, 0, rank - 1]) : v;
  return turned ? g.swapLast(behind) : behind;
}

/** com.microsoft FusedMatMul: α · a' · b', either side transposed, its batch axis before or behind its rows. */
export function lowerFusedMatMul(c: FormulaContext): readonly Value[] | null {
  const { g, node } = c;
  const flag = (name: string): boolean => intAttr(node, name, 0) === 1;
  if (c.x(0).shape.length < 2 || c.x(1).shape.length < 2) return null;
  const a = unpacked(g, c.x(0), flag("transBatchA"), flag("transA"));
  const b = unpacked(g, c.x(1), flag("transBatchB"), flag("transB"));
  return [g.mul(g.matMul(a, b), floatAttr(node, "alpha", 1))];
}
