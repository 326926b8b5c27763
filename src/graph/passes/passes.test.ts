import { describe, expect, it } from "vitest";
import { fromInts, toInts } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { floatAttr, graphAttrs, int, ints, intsAttr, stringAttr, subgraph, withAttributes } from "../attributes.ts";
import { builder } from "../builder.ts";
import type { Graph, TensorType } from "../graph.ts";
import { printGraph } from "../print.ts";
import { reparameterise } from "../reparameterise.ts";
import { expose, extract } from "../subgraph.ts";
import { removeDeadCode } from "./dead-code.ts";
import { type Evaluate, foldConstants } from "./fold.ts";
import { inlineIf } from "./inline-if.ts";
import { integerValues, shapeConstants } from "./specialise.ts";
import { verify } from "./verify.ts";

const lines = (graph: Graph) =>
  printGraph(verify(graph))
    .trim()
    .split("\n")
    .slice(1)
    .map((line) => line.trim());
const int64 = (...values: number[]): HostTensor => fromInts("i64", [values.length], values);
const bool = (value: boolean): HostTensor => fromInts("bool", [], [value ? 1 : 0]);

/** Integer lists under Concat, Gather and Mul, which is what chains of sizes are made of. */
const evaluate: Evaluate = async (graph, names) => {
  const values = new Map<string, number[]>();
  for (const [name, ref] of graph.constants) {
    values.set(name, toInts({ dtype: ref.dtype, shape: ref.shape, bytes: ref.resident ?? new Uint8Array() }));
  }
  for (const node of verify(graph).nodes) {
    const [a = [], b = []] = node.inputs.map((name) => values.get(name) ?? []);
    const result =
      node.op === "Concat"
        ? [...a, ...b]
        : node.op === "Gather"
          ? b.map((i) => a[i] ?? 0)
          : a.map((v, i) => v * (b[i] ?? 1));
    values.set(node.outputs[0] ?? "", result);
  }
  return new Map(names.map((name) => [name, int64(...(values.get(name) ?? []))]));
};

/** Flattens x by a chain of sizes, as exporters write it. */
const flatten = (): Graph => {
  const g = builder("flatten");
  const x = g.input("x", "f32", ["n", 3, 4]);
  const n = g.op("Gather", [g.op("Shape", [x], {}, "size"), g.int64([0], [1], "first")], {}, "n");
  const target = g.op("Concat", [n, g.int64([-1], [1], "rest")], { axis: int(0) }, "target");
  g.output(g.op("Reshape", [x, target], {}, "y"), "f32");
  return g.finish();
};
const types = new Map<string, TensorType>([
  ["x", { dtype: "f32", shape: [5, 3, 4] }],
  ["size", { dtype: "i64", shape: [3] }],
  ["n", { dtype: "i64", shape: [1] }],
  ["target", { dtype: "i64", shape: [2] }],
  ["y", { dtype: "f32", shape: [5, 12] }],
]);

describe("specialising", () => {
  it("turns questions about sizes into constants, so that folding leaves one Reshape", async () => {
    const specialised = shapeConstants(flatten(), types);
    expect(specialised.constants.get("size")?.shape).toEqual([3]);
    expect(lines(await foldConstants(specialised, evaluate))).toEqual([
      "input %x: f32[n, 3, 4]",
      "%y = Reshape(%x, target: i64[2] {5, -1})",
      "output %y: f32",
    ]);
  });

  it("reads start and end as Shape does, negative and beyond the rank", () => {
    const g = builder("parts");
    const x = g.input("x", "f32");
    const bounds = [
      [1, 3],
      [-2, 99],
      [0, -1],
      [2, 1],
    ];
    for (const [start = 0, end = 0] of bounds) {
      g.op("Neg", [g.op("Shape", [x], { start: int(start), end: int(end) }, g.fresh("s"))]);
    }
    g.op("Neg", [g.op("Size", [x], {}, "count")]);
    g.op("Neg", [g.op("Shape", ["unknown"], {}, "kept")]);
    g.output(g.op("Shape", [x], {}, "out"));
    const graph = shapeConstants(g.finish(), types);
    const values = [...graph.constants.values()].map((ref) =>
      toInts({ ...ref, bytes: ref.resident ?? new Uint8Array() }),
    );
    expect(values).toEqual([[3, 4], [3, 4], [5, 3], [], [60]]);
    expect(graph.nodes.filter((node) => node.op === "Shape").map((node) => node.outputs[0])).toEqual(["kept", "out"]);
  });

  it("gives the value of every integer in one evaluation", async () => {
    let calls = 0;
    const values = await integerValues(flatten(), types, (graph, names) => {
      calls++;
      return evaluate(graph, names);
    });
    expect(calls).toBe(1);
    expect([...values].map(([name, value]) => [name, toInts(value)]).sort()).toEqual([
      ["first", [0]],
      ["n", [5]],
      ["rest", [-1]],
      ["size", [5, 3, 4]],
      ["target", [5, -1]],
    ]);
  });

  it("leaves out what is large, unknown or depends on an input", async () => {
    const g = builder("bounds");
    const big = g.int64(new Array(40).fill(1), [40], "big");
    g.op("Mul", [big, big], {}, "fromBig");
    const small = g.int64([1], [1], "small");
    g.op("Mul", [small, small], {}, "untyped");
    g.op("Mul", [small, small], {}, "grown");
    g.op("Mul", [small, g.input("x", "i64")], {}, "fed");
    g.op("Mul", [small, small], {}, "fine");
    const type = (size: number): TensorType => ({ dtype: "i64", shape: [size] });
    const known = new Map([
      ["fromBig", type(4)],
      ["grown", type(33)],
      ["fed", type(1)],
      ["fine", type(1)],
    ]);
    const values = await integerValues(g.finish(), known, evaluate, 32);
    expect([...values.keys()].sort()).toEqual(["fine", "small"]);
  });
});

describe("folding", () => {
  const transposed = () => {
    const g = builder("weights");
    const w = g.op("Transpose", [g.float32(new Array(100).fill(1), [10, 10], "w")], {}, "wt");
    const s = g.op("Concat", [g.int64([2], [1], "a"), g.int64([5], [1], "b")], {}, "s");
    g.output(g.op("Expand", [g.op("MatMul", [g.input("x", "f32"), w], {}, "m"), s], {}, "y"), "f32");
    return g.finish();
  };

  it("keeps a Transpose of a large weight a node under a limit", async () => {
    expect(lines(await foldConstants(transposed(), evaluate, { limit: 64 }))).toEqual([
      "input %x: f32",
      "%wt = Transpose(w: f32[10, 10])",
      "%m = MatMul(%x, %wt)",
      "%y = Expand(%m, s: i64[2] {2, 5})",
      "output %y: f32",
    ]);
  });

  it("drops a result that came out larger than the limit, and honours select", async () => {
    const grown: Evaluate = async (_, names) => new Map(names.map((name) => [name, int64(...new Array(65).fill(1))]));
    expect((await foldConstants(transposed(), grown, { limit: 64 })).nodes.length).toBe(4);
    const none = await foldConstants(transposed(), evaluate, { select: () => false });
    expect(none.nodes.length).toBe(4);
  });

  it("never folds random operators, nor a branch that holds one", async () => {
    const branch = builder("b");
    branch.output(branch.op("RandomNormal", []));
    const g = builder("random");
    const c = g.constant(bool(true), "c");
    g.op("If", [c], { then_branch: subgraph(branch.finish()), else_branch: subgraph(branch.finish()) }, "i");
    g.output(g.op("Add", [g.op("RandomUniformLike", [c], {}, "r"), "i"], {}, "y"));
    const graph = g.finish();
    expect(await foldConstants(graph, evaluate)).toBe(graph);
  });
});

describe("inlining", () => {
  const choose = () => {
    const then = builder("then");
    then.output(then.op("Mul", ["x", then.int64([2], [1], "k")], {}, "t"));
    const otherwise = builder("else");
    otherwise.output(otherwise.op("Mul", ["x", otherwise.int64([3], [1], "k")], {}, "t"));
    const g = builder("choose");
    const x = g.input("x", "i64", [1]);
    const flag = g.input("flag", "bool", []);
    const condition = g.op("Identity", [flag], {}, "condition");
    const branches = { then_branch: subgraph(then.finish()), else_branch: subgraph(otherwise.finish()) };
    g.output(g.op("Neg", [g.op("If", [condition], branches, "picked"), x], {}, "y"), "i64");
    g.op("If", [flag], branches, "direct");
    g.output("direct", "i64");
    return g.finish();
  };

  it("lets the user decide by a value or by an input", async () => {
    expect(
      lines(
        await inlineIf(
          choose(),
          new Map([
            ["condition", bool(true)],
            ["flag", bool(false)],
          ]),
        ),
      ),
    ).toEqual([
      "input %x: i64[1]",
      "%picked = Mul(%x, k_2: i64[1] {2})",
      "%y = Neg(%picked, %x)",
      "%direct = Mul(%x, k_1: i64[1] {3})",
      "output %y: i64",
      "output %direct: i64",
    ]);
  });

  it("leaves an open condition alone", async () => {
    const graph = choose();
    expect(await inlineIf(graph)).toBe(graph);
  });

  it("refuses values that do not fit", async () => {
    await expect(inlineIf(choose(), new Map([["flog", bool(true)]]))).rejects.toThrow('fixed value "flog"');
    await expect(inlineIf(choose(), new Map([["flag", int64(1)]]))).rejects.toThrow("expected bool[], got i64[1]");
  });
});

describe("re-parameterising", () => {
  it("multiplies a mask into every use and keeps the weight itself", () => {
    const branch = builder("b");
    branch.output(branch.op("Neg", ["w"], {}, "n"));
    const g = builder("masked");
    const w = g.float32([1, 2], [2], "w");
    g.op("Mul", [g.input("x", "f32"), w], {}, "y");
    g.op("If", [g.constant(bool(true), "c")], { then_branch: subgraph(branch.finish()) }, "z");
    g.output("y", "f32");
    g.output("z", "f32");
    g.output(w);
    const masked = reparameterise(g.finish(), "w", (draft, p) =>
      draft.op("Mul", [p, draft.float32([1, 0], [2], "mask")], {}, "effective"),
    );
    expect(lines(masked)).toEqual([
      "input %x: f32",
      "%effective = Mul(w: f32[2] {1, 2}, mask: f32[2] {1, 0})",
      "%y = Mul(%x, %effective)",
      "%z = If[then_branch](c: bool[] {1})",
      "then_branch:",
      "%n = Neg(%effective)",
      "output %n: ?",
      "output %y: f32",
      "output %z: f32",
      "output w: f32[2] {1, 2}",
    ]);
    expect(() => reparameterise(masked, "x", (_, p) => p)).toThrow("expected a constant of the graph");
  });
});

describe("parts of graphs", () => {
  it("takes what outputs need, with types from where they are known", () => {
    const g = builder("split");
    const x = g.input("x", "f32", [2]);
    g.input("unused", "f32");
    const [a, b] = g.op("Split", [x], {}, ["a", "b"]);
    g.output(g.op("Add", [g.op("Neg", [a], {}, "na"), b], {}, "y"), "f32");
    const graph = g.finish();
    expect(lines(extract(graph, ["na"], { types: new Map([["na", { dtype: "f32", shape: [1] }]]) }))).toEqual([
      "input %x: f32[2]",
      "%a, %b = Split(%x)",
      "%na = Neg(%a)",
      "output %na: f32[1]",
    ]);
    expect(lines(extract(graph, ["y"], { from: ["a"] }))).toEqual([
      "input %x: f32[2]",
      "input %a: ?",
      "%a_1, %b = Split(%x)",
      "%na = Neg(%a)",
      "%y = Add(%na, %b)",
      "output %y: f32",
    ]);
    expect(expose(graph, ["y"])).toBe(graph);
    expect(() => extract(graph, ["nb"])).toThrow(
      'value "nb": expected a value of graph "split", got none. Did you mean "b"?',
    );
    expect(() => expose(graph, [""])).toThrow("got none");
  });

  it("drops outer code that only a dead part of a subgraph read", () => {
    const branch = builder("b");
    branch.op("Neg", ["v"]);
    branch.output(branch.op("Abs", ["x"]));
    const g = builder("outer");
    const v = g.op("Relu", [g.input("x", "f32")], {}, "v");
    g.output(g.op("If", [g.constant(bool(true), "c")], { then_branch: subgraph(branch.finish()) }, "y"));
    expect(removeDeadCode(g.finish()).nodes.map((node) => node.op)).toEqual(["If"]);
    expect(v).toBe("v");
  });
});

it("attributes are read by kind, with defaults", () => {
  const node = builder("a");
  node.op("Op", [], { axes: ints([1]), alpha: int(2) }, "o");
  const [first] = node.nodes();
  if (first === undefined) throw new Error("no node");
  expect(intsAttr(first, "axes", undefined)).toEqual([1]);
  expect(intsAttr(first, "pads", undefined)).toBeUndefined();
  expect(floatAttr(first, "alpha", 1)).toBe(2);
  expect(stringAttr(first, "mode", "zeros")).toBe("zeros");
  expect(() => stringAttr(first, "axes", "")).toThrow('expected attribute "axes" of kind string, got ints');
  const changed = withAttributes(first, { axes: null, body: subgraph(node.finish()) });
  expect([...changed.attributes.keys()]).toEqual(["alpha", "body"]);
  expect(graphAttrs(changed).map(([name, graph]) => [name, graph.name])).toEqual([["body", "a"]]);
});
