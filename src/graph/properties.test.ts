import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { fromInts, toInts } from "../tensor/numeric.ts";
import { type Random, random } from "../tensor/random.ts";
import { refOf } from "../tensor/tensor.ts";
import { edit } from "./edit.ts";
import type { Attribute, Graph, Node } from "./graph.ts";
import { removeDeadCode } from "./passes/dead-code.ts";
import { distinctNodes } from "./passes/distinct.ts";
import { type Evaluate, foldConstants } from "./passes/fold.ts";
import { inlineIf } from "./passes/inline-if.ts";
import { verify } from "./passes/verify.ts";
import { printGraph } from "./print.ts";
import { reparameterise } from "./reparameterise.ts";
import { expose, extract } from "./subgraph.ts";
import { sortNodes } from "./topological.ts";

/** A random graph over i64 scalars, with Ifs (nested, reading outer values, shadowing names) and dead parts. */
function randomGraph(seed: number, size: number): Graph {
  const r = random(seed, "graph");
  const counter = { next: 0 };
  return body(r, size, [], counter, 2, "main");
}

function body(
  r: Random,
  size: number,
  outer: readonly string[],
  counter: { next: number },
  depth: number,
  name: string,
): Graph {
  const main = outer.length === 0;
  const nodes: Node[] = [];
  const constants = new Map<string, Graph["constants"] extends ReadonlyMap<string, infer T> ? T : never>();
  const local: string[] = [];
  const fresh = () => {
    // Inside a branch a name may shadow an outer one, as real files do.
    const shadow = main || r.int(8) > 0 ? undefined : outer[r.int(outer.length)];
    const unique =
      shadow !== undefined && !local.includes(shadow) && !outerRead.has(shadow) ? shadow : `v${counter.next++}`;
    return unique;
  };
  const outerRead = new Set<string>();
  const pick = (): string => {
    const all = [...local, ...outer];
    const chosen = all[r.int(all.length)] ?? "";
    if (!local.includes(chosen)) outerRead.add(chosen);
    return chosen;
  };
  const inputs = main ? ["in0", "in1"] : [];
  local.push(...inputs);
  for (let i = r.int(3) + (main ? 1 : 0); i > 0; i--) {
    const constant = fresh();
    constants.set(constant, refOf(fromInts("i64", [], [r.int(1000)])));
    local.push(constant);
  }
  const flag = main ? ["flag0", "flag1"] : [];
  for (const [value, key] of flag.entries()) constants.set(key, refOf(fromInts("bool", [], [value])));
  for (let i = 0; i < size; i++) {
    const attributes = new Map<string, Attribute>();
    const op = depth > 0 && r.int(5) === 0 ? "If" : r.int(12) === 0 ? "RandomThing" : r.int(2) === 0 ? "Add" : "Mul";
    const inputs: string[] = [];
    if (op === "If") {
      inputs.push(r.int(3) === 0 ? pick() : `flag${r.int(2)}`);
      const visible = [...local, ...outer];
      for (const key of ["then_branch", "else_branch"]) {
        const value = body(r, r.int(4), visible, counter, depth - 1, key);
        for (const read of visible) outerRead.add(read);
        attributes.set(key, { kind: "graph", value });
      }
    } else {
      for (let k = r.int(3) + (op === "RandomThing" ? 0 : 1); k > 0; k--) inputs.push(r.int(10) === 0 ? "" : pick());
      attributes.set("seed", { kind: "int", value: r.int(5) });
    }
    const outputs = [fresh()];
    if (r.int(4) === 0) outputs.push(r.int(4) === 0 ? "" : `v${counter.next++}`);
    for (const output of outputs) if (output !== "") local.push(output);
    nodes.push({ name: outputs[0] ?? "", domain: "", op, inputs, outputs, attributes });
  }
  const outputs = main ? [pick(), pick(), pick()] : [pick(), pick()];
  const kept = main ? [...new Set(outputs)].filter((output) => !inputs.includes(output)) : outputs;
  return {
    name,
    inputs: inputs.map((input) => ({ name: input, dtype: "i64", dims: [] })),
    outputs: kept.map((output) => ({ name: output, dtype: "i64", dims: [] })),
    nodes,
    constants,
    opsets: new Map([["", 17]]),
    valueInfo: new Map(
      local.filter(() => r.int(2) === 0).map((value) => [value, { name: value, dtype: "i64", dims: [] }]),
    ),
  };
}

/** What a graph computes, by the book: each value from the definitions of its inputs, names mattering nowhere. */
function interpret(graph: Graph, feeds: ReadonlyMap<string, number>, around: (name: string) => number = missing) {
  const values = new Map(feeds);
  const read = (name: string): number => (name === "" ? 7 : (values.get(name) ?? around(name)));
  for (const [name, ref] of graph.constants) {
    const bytes = ref.resident ?? new Uint8Array();
    values.set(name, toInts({ dtype: ref.dtype, shape: ref.shape, bytes })[0] ?? 0);
  }
  for (const node of graph.nodes) {
    let results: number[];
    if (node.op === "If") {
      const branch = node.attributes.get(read(node.inputs[0] ?? "") % 2 === 1 ? "then_branch" : "else_branch");
      if (branch?.kind !== "graph") throw new Error("an If without branches");
      const inner = interpret(branch.value, new Map(), read);
      results = branch.value.outputs.map((output) => inner(output.name));
    } else if (node.op === "Identity") {
      results = [read(node.inputs[0] ?? "")];
    } else {
      const seed = node.attributes.get("seed");
      const start = node.op.length * 31 + (seed?.kind === "int" ? seed.value : 0);
      const mixed = node.inputs.reduce((sum, name) => (sum * 8191 + read(name) * 17 + 1) % 2147483647, start);
      results = node.outputs.map((_, index) => (mixed + index * 12345) % 2147483647);
    }
    for (const [index, name] of node.outputs.entries()) if (name !== "") values.set(name, results[index] ?? 0);
  }
  return read;
}

function missing(name: string): never {
  throw new Error(`no value ${name}`);
}

const feeds = new Map([
  ["in0", 11],
  ["in1", 222],
]);
const results = (graph: Graph, from = feeds) => {
  const read = interpret(
    graph,
    new Map([...from].filter(([name]) => graph.inputs.some((input) => input.name === name))),
  );
  return graph.outputs.map((output) => [output.name, read(output.name)]);
};
const evaluate: Evaluate = async (graph, names) => {
  if (graph.inputs.length > 0) throw new Error("constants cannot need inputs");
  const read = interpret(verify(graph), new Map());
  return new Map(names.map((name) => [name, fromInts("i64", [], [read(name)])]));
};

/** Seed and size rather than the graph, so that a failure prints in one line. */
const specs = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 25 }));
const graphOf = ([seed, size]: readonly [number, number]) => verify(randomGraph(seed, size));
const runs = { numRuns: 150 };

describe("on random graphs", () => {
  it("has Ifs of all kinds, shadowing and dead code to work on", () => {
    const all = Array.from({ length: 100 }, (_, seed) => randomGraph(seed, 20));
    const texts = all.map(printGraph).join("");
    expect(texts.match(/= If/g)?.length).toBeGreaterThan(200);
    expect(all.filter((graph) => removeDeadCode(graph) !== graph).length).toBeGreaterThan(80);
  });

  it("sorting restores an order, and leaves a good one alone", () => {
    fc.assert(
      fc.property(specs, fc.nat(), (spec, seed) => {
        const graph = graphOf(spec);
        expect(sortNodes(graph.nodes)).toBe(graph.nodes);
        const shuffled = [...graph.nodes];
        random(seed).shuffle(shuffled);
        const sorted = { ...graph, nodes: sortNodes(shuffled) };
        expect(new Set(sorted.nodes)).toEqual(new Set(graph.nodes));
        expect(results(verify(sorted))).toEqual(results(graph));
      }),
      runs,
    );
  });

  it("an order with a producer after its consumer is seen by verify", () => {
    let caught = 0;
    for (let seed = 0; seed < 50; seed++) {
      const graph = randomGraph(seed, 20);
      const reversed = { ...graph, nodes: graph.nodes.toReversed() };
      if (sortNodes(reversed.nodes) === reversed.nodes) continue;
      expect(() => verify(reversed)).toThrow("expected");
      caught++;
    }
    expect(caught).toBeGreaterThan(40);
  });

  it("removing dead code keeps the results and leaves nothing unread", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        const graph = graphOf(spec);
        const live = verify(removeDeadCode(graph));
        expect(results(live)).toEqual(results(graph));
        expect(removeDeadCode(live)).toBe(live);
        for (let i = 0; i < live.nodes.length; i++) {
          const without = { ...live, nodes: live.nodes.toSpliced(i, 1) };
          expect(() => verify(without)).toThrow("expected");
        }
      }),
      runs,
    );
  });

  it("the same graph prints the same, however its maps are ordered, and another one differently", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        const graph = graphOf(spec);
        const turned: Graph = {
          ...graph,
          constants: new Map([...graph.constants].toReversed()),
          nodes: graph.nodes.map((node) => ({ ...node, attributes: new Map([...node.attributes].toReversed()) })),
        };
        expect(printGraph(turned)).toBe(printGraph(graph));
        for (const node of graph.nodes.slice(0, 3)) {
          const draft = edit(graph);
          draft.setAttributes(node, { seed: { kind: "int", value: 99 } });
          expect(printGraph(draft.finish())).not.toBe(printGraph(graph));
        }
      }),
      runs,
    );
  });

  it("folding constants keeps the results and leaves nothing to fold", async () => {
    await fc.assert(
      fc.asyncProperty(specs, async (spec) => {
        const graph = graphOf(spec);
        let calls = 0;
        const folded = await foldConstants(graph, (part, names) => {
          calls++;
          return evaluate(part, names);
        });
        expect(calls).toBeLessThan(2);
        expect(results(verify(folded))).toEqual(results(graph));
        expect(await foldConstants(folded, () => Promise.reject(new Error("nothing was left to fold")))).toBe(folded);
      }),
      runs,
    );
  });

  it("folding wrong values is noticed", async () => {
    let noticed = 0;
    for (let seed = 0; seed < 60; seed++) {
      const graph = randomGraph(seed, 20);
      const wrong = await foldConstants(
        graph,
        async (_, names) => new Map(names.map((n) => [n, fromInts("i64", [], [5])])),
      );
      if (JSON.stringify(results(wrong)) !== JSON.stringify(results(graph))) noticed++;
    }
    expect(noticed).toBeGreaterThan(10);
  });

  it("inlining keeps the results, and no If with a known condition is left", async () => {
    await fc.assert(
      fc.asyncProperty(specs, async (spec) => {
        const graph = graphOf(spec);
        const inlined = verify(await inlineIf(graph));
        expect(results(inlined)).toEqual(results(graph));
        expect(printGraph(inlined)).not.toMatch(/= If\[.*\]\(flag/);
        const fixed = await inlineIf(graph, new Map([["in0", fromInts("i64", [], [11])]]));
        expect(fixed.inputs.map((input) => input.name)).toEqual(["in1"]);
        expect(results(verify(fixed))).toEqual(results(graph));
      }),
      runs,
    );
  });

  it("extracting and exposing keep the values", () => {
    fc.assert(
      fc.property(specs, fc.nat(), fc.nat(), (spec, a, b) => {
        const graph = graphOf(spec);
        const names = graph.nodes.flatMap((node) => node.outputs.filter((output) => output !== ""));
        const wanted =
          names.length === 0 ? [] : [...new Set([names[a % names.length] ?? "", names[b % names.length] ?? ""])];
        const read = interpret(graph, feeds);
        const expected = wanted.map((name) => [name, read(name)]);
        expect(results(verify(extract(graph, wanted)))).toEqual(expected);
        const tapped = results(verify(expose(graph, wanted)));
        expect(tapped).toEqual(expect.arrayContaining([...expected, ...results(graph)]));
        // Cut in two at a value: the second part fed with what the first part gives.
        const [cut = ""] = wanted;
        if (cut === "") return;
        const second = verify(
          extract(
            graph,
            graph.outputs.map((output) => output.name),
            { from: [cut] },
          ),
        );
        expect(results(second, new Map([...feeds, [cut, read(cut)]]))).toEqual(results(graph));
      }),
      runs,
    );
  });

  it("what stands for a value has its value, in a graph whose nodes were all written twice too", () => {
    let joined = 0;
    const differences = (graph: Graph, pairs: Iterable<readonly [string, string]>): string[] => {
      const read = interpret(graph, feeds);
      return [...pairs].flatMap(([value, stands]) => (read(value) === read(stands) ? [] : [`${value} ${stands}`]));
    };
    fc.assert(
      fc.property(specs, (spec) => {
        const once = graphOf(spec);
        const again = (name: string) =>
          once.inputs.some((input) => input.name === name) || name === "" ? name : `${name}-again`;
        const copies = once.nodes
          .filter(({ attributes }) => ![...attributes.values()].some(({ kind }) => kind === "graph"))
          .map((node) => ({ ...node, outputs: node.outputs.map(again) }));
        const graph = { ...once, nodes: [...once.nodes, ...copies] };
        const { nodes, standsFor } = distinctNodes(graph);
        expect(differences(graph, standsFor)).toEqual([]);
        const random = copies.filter(({ op }) => op === "RandomThing").length;
        expect(nodes.length).toBeLessThanOrEqual(once.nodes.length + random);
        const distinct = verify({ ...graph, nodes, outputs: [], valueInfo: new Map() });
        const read = interpret(distinct, feeds);
        const expected = interpret(graph, feeds);
        for (const node of nodes)
          for (const name of node.outputs) if (name !== "") expect(read(name)).toBe(expected(name));
        joined += standsFor.size;
        // The fault that the comparison must see: the next value in the place of one.
        const turned = [...standsFor].map(([value], i, all): [string, string] => [value, all.at(i - 1)?.[1] ?? value]);
        const kinds = new Set(standsFor.values()).size;
        if (kinds > 1) expect(differences(graph, turned)).not.toEqual([]);
      }),
      runs,
    );
    expect(joined).toBeGreaterThan(500);
  });

  it("an identity in the place of every value changes nothing", () => {
    fc.assert(
      fc.property(specs, (spec) => {
        const graph = graphOf(spec);
        const draft = edit(graph);
        for (const node of graph.nodes) {
          for (const output of node.outputs)
            if (output !== "") draft.replaceUses(output, draft.op("Identity", [output]));
        }
        expect(results(verify(draft.finish()))).toEqual(results(graph));
        const masked = reparameterise(graph, graph.constants.keys(), (d, w) => d.op("Identity", [w]));
        expect(results(verify(masked))).toEqual(results(graph));
      }),
      runs,
    );
  });
});
