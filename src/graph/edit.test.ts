import { describe, expect, it } from "vitest";
import { int, intAttr, subgraph } from "./attributes.ts";
import { builder } from "./builder.ts";
import { captures } from "./captures.ts";
import { edit } from "./edit.ts";
import type { Graph, Node } from "./graph.ts";
import { useDef } from "./uses.ts";

const chain = (): Graph => {
  const g = builder("chain");
  const x = g.input("x", "f32", [1, 4]);
  const w = g.float32([1, 2, 3, 4], [4], "w");
  const a = g.op("Mul", [x, w], {}, "a");
  const b = g.op("Relu", [a], {}, "b");
  g.op("Neg", [b], {}, "y");
  g.output("y", "f32", [1, 4]);
  return g.finish();
};
const at = (graph: Graph, index: number): Node => {
  const node = graph.nodes[index];
  if (node === undefined) throw new Error(`no node ${index}`);
  return node;
};
const text = (graph: Graph) => graph.nodes.map((n) => `${n.outputs} = ${n.op}(${n.inputs})`);

describe("builder", () => {
  it("gives every value a name of its own", () => {
    const g = builder("g");
    const x = g.input("Relu", "f32");
    const names = [
      x,
      g.op("Relu", [x]),
      g.op("Relu", [x]),
      g.fresh("Relu_1"),
      g.constant({ dtype: "i64", shape: [0], bytes: new Uint8Array() }, "Relu"),
    ];
    expect(new Set(names).size).toBe(names.length);
    expect(() => g.op("Neg", [x], {}, "Relu")).toThrow('value "Relu": expected one definition, got two.');
    expect(() => g.input("Relu_1", "f32")).toThrow("one definition");
  });

  it("takes several outputs, domains and attributes", () => {
    const g = builder("g", 17);
    const x = g.input("x", "f32", ["n", 4]);
    const [left, right] = g.op("Split", [x], { axis: int(1) }, ["left", "right"]);
    g.output(g.op("com.microsoft::FusedMatMul", [left, right]), "f32");
    const graph = g.finish();
    expect(text(graph)).toEqual(["left,right = Split(x)", "FusedMatMul = FusedMatMul(left,right)"]);
    expect(graph.opsets).toEqual(
      new Map([
        ["", 17],
        ["com.microsoft", 1],
      ]),
    );
    expect(intAttr(at(graph, 0), "axis", 0)).toBe(1);
    expect(() =>
      intAttr({ ...at(graph, 0), attributes: new Map([["axis", { kind: "float", value: 1 }]]) }, "axis", 0),
    ).toThrow('Split "left": expected attribute "axis" of kind int, got float.');
  });
});

describe("edit", () => {
  it("gives the same object when nothing changed and shares untouched parts", () => {
    const graph = chain();
    expect(edit(graph).finish()).toBe(graph);
    const draft = edit(graph);
    draft.setAttributes(at(graph, 1), { alpha: int(1) });
    const changed = draft.finish();
    expect(changed.nodes[0]).toBe(graph.nodes[0]);
    expect(changed.constants).toBe(graph.constants);
    expect(at(graph, 1).attributes.size).toBe(0);
  });

  it("puts an expression between a value and its readers", () => {
    const graph = chain();
    const draft = edit(graph);
    const scaled = draft.op("Mul", ["b", draft.float32([2], [])], {}, "scaled", { after: at(graph, 1) });
    draft.replaceUses("b", scaled);
    expect(text(draft.finish())).toEqual(["a = Mul(x,w)", "b = Relu(a)", "scaled = Mul(b,floats)", "y = Neg(scaled)"]);
  });

  it("keeps the name of an output that is redirected, and sorts", () => {
    const graph = chain();
    const draft = edit(graph);
    draft.replaceUses("y", draft.op("Abs", ["y"], {}, "abs", { before: at(graph, 0) }));
    expect(text(draft.finish())).toEqual(["a = Mul(x,w)", "b = Relu(a)", "y_1 = Neg(b)", "y = Abs(y_1)"]);
  });

  it("copies when one value feeds two outputs, and follows chains of redirections", () => {
    const g = builder("two");
    const x = g.input("x", "f32");
    g.output(g.op("Relu", [x], {}, "p"));
    g.output(g.op("Abs", [x], {}, "q"));
    const draft = edit(g.finish());
    draft.replaceUses("p", "q");
    expect(text(draft.finish())).toEqual(["p_1 = Relu(x)", "q = Abs(x)", "p = Identity(q)"]);

    const further = edit(g.finish());
    further.replaceUses("p", "q");
    further.replaceUses("q", further.op("Neg", ["q"], {}, "neg"));
    expect(text(further.finish())).toEqual(["p_1 = Relu(x)", "q_1 = Abs(x)", "p = Neg(q_1)", "q = Identity(p)"]);
  });

  it("refuses to redirect an output that is an input", () => {
    const g = builder("pass");
    g.output(g.input("x", "f32"));
    const draft = edit(g.finish());
    draft.replaceUses("x", draft.op("Neg", ["x"]));
    expect(() => draft.finish()).toThrow("a graph input");
  });

  it("follows a node through its versions", () => {
    const graph = chain();
    const draft = edit(graph);
    const first = at(graph, 1);
    const second = draft.setInput(first, 1, "w");
    draft.setInput(first, 2, "x");
    expect(draft.current(second).inputs).toEqual(["a", "w", "x"]);
    expect(draft.consumers("w").map((n) => n.op)).toEqual(["Mul", "Relu"]);
    draft.remove(second);
    expect(() => draft.current(first)).toThrow("not there");
    expect(draft.consumers("w").map((n) => n.op)).toEqual(["Mul"]);
    expect(draft.has("b")).toBe(false);
    draft.op("Neg", ["a"], {}, "b");
    expect(text(draft.finish())).toEqual(["a = Mul(x,w)", "b = Neg(a)", "y = Neg(b)"]);
  });

  it("renames what subgraphs capture, and nothing that only looks like it", () => {
    const branch = builder("then");
    branch.output(branch.op("Add", ["v", "local"], {}, "r"));
    const local = builder("else");
    local.float32([1], [1], "v");
    local.output(local.op("Neg", ["v"], {}, "w"));
    const g = builder("outer");
    const c = g.input("c", "bool");
    const v = g.op("Relu", [g.input("x", "f32")], {}, "v");
    g.op("Abs", [v], {}, "local");
    g.output(g.op("If", [c], { then_branch: subgraph(branch.finish()), else_branch: subgraph(local.finish()) }, "y"));
    const graph = g.finish();
    expect(captures(at(graph, 2))).toEqual(["v", "local"]);
    expect(
      useDef(graph)
        .consumers("v")
        .map((u) => [u.node.op, u.input]),
    ).toEqual([
      ["Abs", 0],
      ["If", -1],
    ]);

    const draft = edit(graph);
    draft.replaceUses("v", draft.op("Neg", ["v"], {}, draft.fresh("w")));
    const changed = draft.finish();
    expect(text(changed)).toEqual(["v = Relu(x)", "w_1 = Neg(v)", "local = Abs(w_1)", "y = If(c)"]);
    expect(captures(at(changed, 3))).toEqual(["w_1", "local"]);
    const branches = [...at(changed, 3).attributes.values()].flatMap((a) =>
      a.kind === "graph" ? [text(a.value)] : [],
    );
    expect(branches).toEqual([["r = Add(w_1,local)"], ["w = Neg(v)"]]);
  });

  it("does not leak later steps into a finished graph", () => {
    const draft = edit(chain());
    draft.float32([1], [1], "k");
    const first = draft.finish();
    draft.float32([1], [1], "l");
    expect(first.constants.has("l")).toBe(false);
  });

  it("stays linear on long graphs", () => {
    const g = builder("long");
    let x = g.input("x", "f32");
    for (let i = 0; i < 20_000; i++) x = g.op("Relu", [x]);
    g.output(x, "f32");
    const draft = edit(g.finish());
    for (const node of draft.nodes()) {
      const value = node.outputs[0] ?? "";
      draft.replaceUses(value, draft.op("Neg", [value], {}, draft.fresh("n"), { before: node }));
    }
    const graph = draft.finish();
    expect(graph.nodes.length).toBe(40_000);
    expect(graph.nodes.slice(0, 4).map((n) => n.op)).toEqual(["Relu", "Neg", "Relu", "Neg"]);
  });
});
