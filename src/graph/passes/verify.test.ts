import { describe, expect, it } from "vitest";
import { EspalierError } from "../../tensor/error.ts";
import { ints, string, subgraph } from "../attributes.ts";
import { builder } from "../builder.ts";
import type { Graph, Node } from "../graph.ts";
import { sortNodes } from "../topological.ts";
import { verify } from "./verify.ts";

const sound = (): Graph => {
  const branch = builder("branch");
  branch.output(branch.op("Neg", ["x"], {}, "z"), "f32");
  const g = builder("sound");
  const x = g.input("x", "f32", [1, 4]);
  const y = g.op("Mul", [x, g.float32([1, 2, 3, 4], [4], "w")], { perm: ints([0, 1]) }, "y");
  const c = g.constant({ dtype: "bool", shape: [], bytes: Uint8Array.of(1) }, "c");
  g.output(
    g.op("If", [c], { then_branch: subgraph(branch.finish()), else_branch: subgraph(branch.finish()) }, "r"),
    "f32",
  );
  g.output(y, "f32", [1, 4]);
  return g.finish();
};
const withNode = (index: number, change: Partial<Node>): Graph => {
  const graph = sound();
  return { ...graph, nodes: graph.nodes.map((node, i) => (i === index ? { ...node, ...change } : node)) };
};
const bytes = new Uint8Array(4);

describe("verify", () => {
  it("accepts a sound graph and gives it back", () => {
    const graph = sound();
    expect(verify(graph)).toBe(graph);
  });

  const faults: Record<string, [Graph, string]> = {
    "an undefined input": [
      withNode(0, { inputs: ["x", "gone"] }),
      'Mul "y": expected input "gone" to be defined before',
    ],
    "two definitions": [withNode(1, { outputs: ["y"] }), 'expected one definition of value "y", got two'],
    "a node that redefines an input": [withNode(0, { outputs: ["x"] }), 'expected one definition of value "x"'],
    "an undefined capture": [
      { ...sound(), inputs: [{ name: "other", dtype: "f32" }], nodes: sound().nodes.slice(1), outputs: [] },
      'expected input "x" to be defined before its use',
    ],
    "an output that nothing defines": [
      { ...sound(), outputs: [{ name: "gone", dtype: "f32" }] },
      'expected a value for output "gone"',
    ],
    "a fractional int": [
      withNode(0, { attributes: new Map([["axis", { kind: "int", value: 0.5 }]]) }),
      'attribute "axis" of Mul "y": expected integers, got 0.5',
    ],
    "fractional ints": [withNode(0, { attributes: new Map([["axes", ints([0, 0.5])]]) }), "expected integers"],
    "an operator without a name": [withNode(0, { op: "" }), "expected an operator"],
    "an operator set that is not imported": [withNode(0, { domain: "my.ops" }), 'import of operator set "my.ops"'],
    "a constant with too few bytes": [
      { ...sound(), constants: new Map([...sound().constants, ["w", { dtype: "f32", shape: [4], resident: bytes }]]) },
      'constant "w": expected 16 bytes for f32[4], got 4',
    ],
    "a constant without data": [
      { ...sound(), constants: new Map([...sound().constants, ["w", { dtype: "f32", shape: [4] }]]) },
      "got no data",
    ],
    "a negative size": [
      { ...sound(), constants: new Map([...sound().constants, ["w", { dtype: "f32", shape: [-4], resident: bytes }]]) },
      "whole and not negative, got [-4]",
    ],
    "a size beyond counting": [
      { ...sound(), constants: new Map([["w", { dtype: "f32", shape: [2 ** 40, 2 ** 40], resident: bytes }]]) },
      "expected sizes",
    ],
    "a negative dimension": [{ ...sound(), inputs: [{ name: "x", dtype: "f32", dims: [-1] }] }, 'input "x"'],
    "a type under another name": [
      { ...sound(), valueInfo: new Map([["y", { name: "z", dtype: "f32" }]]) },
      'expected a declared type for "y"',
    ],
  };
  for (const [fault, [graph, message]] of Object.entries(faults)) {
    it(`refuses ${fault}`, () => {
      expect(() => verify(graph)).toThrow(EspalierError);
      expect(() => verify(graph)).toThrow(message);
    });
  }

  it("refuses subgraphs nested without end", () => {
    let graph: Graph = { ...sound(), nodes: [], outputs: [], inputs: [] };
    for (let depth = 0; depth < 100; depth++) {
      const node: Node = {
        name: "",
        domain: "",
        op: "If",
        inputs: ["c"],
        outputs: [],
        attributes: new Map([["b", subgraph(graph)]]),
      };
      graph = { ...graph, nodes: [node] };
    }
    expect(() => verify(graph)).toThrow("at most 64 nested");
  });
});

describe("sortNodes", () => {
  const node = (name: string, ...inputs: string[]): Node => ({
    name,
    domain: "",
    op: "Op",
    inputs,
    outputs: [name],
    attributes: new Map([["mode", string("x")]]),
  });
  const names = (nodes: readonly Node[]) => nodes.map((n) => n.name).join("");

  it("moves a late producer to just before its first consumer and nothing else", () => {
    expect(names(sortNodes([node("a"), node("b", "d"), node("c", "a"), node("d", "a"), node("e")]))).toBe("adbce");
  });

  it("names the nodes of a cycle, in the direction of the data", () => {
    const nodes = [node("a", "x"), node("b", "a", "d"), node("c", "b"), node("d", "c")];
    expect(() => sortNodes(nodes)).toThrow(
      /without cycles, got one through Op "c", Op "d", Op "b"|"b", Op "c", Op "d"/,
    );
    expect(() => sortNodes([node("s", "s")])).toThrow('through Op "s".');
  });

  it("sees a cycle through a subgraph and survives a chain of 50,000 nodes", () => {
    const inner: Graph = { ...sound(), inputs: [], constants: new Map(), nodes: [node("q", "late")], outputs: [] };
    const holder: Node = { ...node("h"), attributes: new Map([["body", subgraph(inner)]]) };
    expect(names(sortNodes([holder, node("late")]))).toBe("lateh");
    expect(() => sortNodes([holder, node("late", "h")])).toThrow("without cycles");
    const chain = Array.from({ length: 50_000 }, (_, i) => node(`n${i}`, `n${i + 1}`));
    expect(sortNodes(chain)[0]?.name).toBe("n49999");
  });
});
