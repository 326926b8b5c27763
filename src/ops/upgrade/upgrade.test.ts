import { afterAll, describe, expect, it } from "vitest";
import { type Attributes, float, floats, int, ints, string, subgraph } from "../../graph/attributes.ts";
import { builder } from "../../graph/builder.ts";
import type { Feeds, Graph } from "../../graph/graph.ts";
import { verify } from "../../graph/passes/verify.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { fromFloats, fromInts, toFloat64 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import { changes } from "./changes.ts";
import { internalOpset, upgrade } from "./upgrade.ts";

/** One operator in an old form. Inputs: a shape of random floats, or given integers or floats; null is absent. */
interface OldForm {
  readonly op: string;
  readonly opset: number;
  readonly inputs: readonly (readonly number[] | { readonly ints: number[] } | { readonly floats: number[] } | null)[];
  readonly attributes?: Attributes;
  readonly outputs?: number;
  /** A planted fault that only counts the version up must be seen, but where the runtime lets the old form pass. */
  readonly sameWithout?: boolean;
}

const axes = { axes: ints([0, 2]) };
const image = [1, 2, 4, 6];

const oldForms: readonly OldForm[] = [
  {
    op: "BatchNormalization",
    opset: 8,
    inputs: [image, [2], [2], [2], { floats: [0.5, 2] }],
    attributes: { spatial: int(1) },
  },
  { op: "Clip", opset: 7, inputs: [[3, 4]], attributes: { min: float(-0.5), max: float(0.25) } },
  { op: "Clip", opset: 10, inputs: [[3, 4]], attributes: { max: float(0.1) } },
  { op: "DFT", opset: 17, inputs: [[2, 8, 3, 1]], attributes: { axis: int(2) } },
  { op: "DFT", opset: 17, inputs: [[2, 8, 3, 1]] },
  { op: "Dropout", opset: 7, inputs: [[3, 4]], attributes: { ratio: float(0.3) } },
  { op: "Dropout", opset: 10, inputs: [[3, 4]], attributes: { ratio: float(0.3) } },
  {
    op: "GridSample",
    opset: 16,
    inputs: [
      [1, 2, 4, 4],
      [1, 3, 3, 2],
    ],
    attributes: { mode: string("bilinear") },
  },
  {
    op: "GridSample",
    opset: 16,
    inputs: [
      [1, 2, 4, 4],
      [1, 3, 3, 2],
    ],
    attributes: { mode: string("bicubic") },
  },
  { op: "GroupNormalization", opset: 18, inputs: [[2, 6, 3], [2], [2]], attributes: { num_groups: int(2) } },
  { op: "Hardmax", opset: 9, inputs: [[2, 3, 4]] },
  { op: "LogSoftmax", opset: 11, inputs: [[2, 3, 4]], attributes: { axis: int(-2) } },
  { op: "MeanVarianceNormalization", opset: 8, inputs: [[2, 2, 3, 3]], attributes: { across_channels: int(1) } },
  { op: "MeanVarianceNormalization", opset: 7, inputs: [[2, 2, 3, 3]], sameWithout: true },
  { op: "Pad", opset: 7, inputs: [[2, 3]], attributes: { pads: ints([0, 1, 2, 0]), value: float(0.7) } },
  { op: "Pad", opset: 10, inputs: [[2, 3]], attributes: { pads: ints([0, 1, 1, 0]), mode: string("reflect") } },
  ...["L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"].flatMap((name): OldForm[] => [
    { op: `Reduce${name}`, opset: 11, inputs: [[2, 3, 4]], attributes: axes },
    { op: `Reduce${name}`, opset: 7, inputs: [[2, 3, 4]], attributes: { ...axes, keepdims: int(0) } },
  ]),
  { op: "ReduceLogSum", opset: 13, inputs: [{ floats: [1, 2, 3] }], attributes: { axes: ints([0]) } },
  { op: "ReduceMean", opset: 17, inputs: [[2, 3]], sameWithout: true },
  { op: "Resize", opset: 10, inputs: [image, { floats: [1, 1, 2, 1.5] }] },
  { op: "Resize", opset: 10, inputs: [image, { floats: [1, 1, 0.6, 0.5] }] },
  { op: "Resize", opset: 10, inputs: [image, { floats: [1, 1, 2, 1.5] }], attributes: { mode: string("linear") } },
  {
    op: "Resize",
    opset: 11,
    inputs: [image, { floats: [] }, { floats: [] }, { ints: [1, 2, 6, 9] }],
    sameWithout: true,
  },
  {
    op: "RoiAlign",
    opset: 10,
    inputs: [image, { floats: [0, 0, 3, 3] }, { ints: [0] }],
    attributes: { output_height: int(2), output_width: int(2) },
  },
  { op: "Scatter", opset: 9, inputs: [[3, 2], { ints: [2, 0] }, [1, 2]], attributes: { axis: int(0) } },
  { op: "Slice", opset: 9, inputs: [[4, 5]], attributes: { starts: ints([1]), ends: ints([-1]), axes: ints([1]) } },
  { op: "Slice", opset: 7, inputs: [[4, 5]], attributes: { starts: ints([1, 0]), ends: ints([3, 4]) } },
  { op: "Softmax", opset: 12, inputs: [[2, 3, 4]] },
  { op: "Softmax", opset: 7, inputs: [[2, 3]], attributes: { axis: int(0) } },
  { op: "Softmax", opset: 12, inputs: [[2, 3, 4]], attributes: { axis: int(2) }, sameWithout: true },
  { op: "Split", opset: 11, inputs: [[2, 6]], attributes: { axis: int(1), split: ints([1, 5]) }, outputs: 2 },
  { op: "Split", opset: 13, inputs: [[6, 2]], outputs: 3, sameWithout: true },
  { op: "Squeeze", opset: 11, inputs: [[1, 3, 1]], attributes: { axes: ints([2]) } },
  { op: "TopK", opset: 9, inputs: [[3, 5]], attributes: { k: int(2) }, outputs: 2 },
  { op: "Unsqueeze", opset: 12, inputs: [[3]], attributes: { axes: ints([0, 2]) } },
  { op: "Upsample", opset: 7, inputs: [image], attributes: { scales: floats([1, 1, 2, 2]) } },
  { op: "Upsample", opset: 9, inputs: [image, { floats: [1, 1, 2, 3] }], attributes: { mode: string("linear") } },
];

/** The first input is fed, the others are constants. */
function graphOf({ op, opset, inputs, attributes = {}, outputs = 1 }: OldForm): { graph: Graph; feeds: Feeds } {
  const draft = builder("old", opset);
  const feeds = new Map<string, HostTensor>();
  const names = inputs.map((operand, i) => {
    if (operand === null) return "";
    if ("ints" in operand)
      return draft.constant(fromInts("i64", op === "Scatter" ? [1, 2] : [operand.ints.length], operand.ints));
    if ("floats" in operand) {
      const shape = op === "RoiAlign" ? [1, 4] : [operand.floats.length];
      const tensor = fromFloats("f32", shape, Float64Array.from(operand.floats));
      if (i > 0) return draft.constant(tensor);
      feeds.set("x", tensor);
      return draft.input("x", "f32", tensor.shape);
    }
    const values = new Float64Array(sizeOf(operand));
    random(5, "operand", i).fillNormal(values);
    const tensor = fromFloats("f32", operand, values);
    if (i > 0) return draft.constant(tensor);
    feeds.set("x", tensor);
    return draft.input(
      "x",
      "f32",
      operand.map((_, axis) => `n${axis}`),
    );
  });
  const results = Array.from({ length: outputs }, (_, i) => draft.fresh(`y${i}`));
  draft.op(op, names, attributes, results);
  for (const name of results) draft.output(name, null);
  return { graph: draft.finish(), feeds };
}

/** Greatest difference between the outputs of two graphs; NaN where shapes differ. */
async function difference(runtime: Runtime, a: Graph, b: Graph, feeds: Feeds): Promise<number> {
  const results = [];
  for (const graph of [a, b]) {
    const session = await runtime.compile(graph, { optimisation: "disabled" });
    results.push(await session.run(feeds));
    await session.release();
  }
  const [first = new Map(), second = new Map()] = results;
  let most = 0;
  for (const [name, one] of first) {
    const other = second.get(name);
    if (other === undefined || one.shape.join() !== other.shape.join() || one.dtype !== other.dtype) return Number.NaN;
    const [u, v] = [toFloat64(one), toFloat64(other)];
    for (const [i, value] of u.entries()) most = Math.max(most, Math.abs(value - (v[i] ?? Number.NaN)));
  }
  return most;
}

describe("an upgraded graph gives the same outputs", async () => {
  const runtime = await openRuntime({ threads: 1, worker: false });
  afterAll(() => runtime.close());

  it.each(oldForms.map((form, i) => [`${form.op} ${form.opset} (${i})`, form] as const))("%s", async (_, form) => {
    const { graph, feeds } = graphOf(form);
    const declared = new Map([...feeds].map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
    for (const types of [declared, new Map()]) {
      const upgraded = verify(await upgrade(graph, types));
      expect(upgraded.opsets.get("")).toBe(internalOpset);
      expect(await difference(runtime, graph, upgraded, feeds)).toBeLessThan(1e-6);
    }
    const planted = { ...graph, opsets: new Map([["", internalOpset]]) };
    const seen = await difference(runtime, graph, planted, feeds).catch(() => Number.POSITIVE_INFINITY);
    if (form.sameWithout !== true) expect(seen).not.toBeLessThan(1e-6);
  });

  it("has a form of every operator that changed", () => {
    const tried = new Set([...oldForms.map(({ op }) => op), "Scan"]);
    expect(Object.keys(changes).filter((op) => !tried.has(op))).toEqual([]);
  });

  it("reaches into branches", async () => {
    const branch = (axis: number): Graph => {
      const draft = builder("branch", 11);
      draft.op("ReduceSum", ["x"], { axes: ints([axis]), keepdims: int(0) }, `sum${axis}`);
      draft.output(`sum${axis}`, "f32");
      return draft.finish();
    };
    const draft = builder("chooses", 11);
    draft.input("x", "f32", [2, 2]);
    draft.input("which", "bool", []);
    draft.op("If", ["which"], { then_branch: subgraph(branch(0)), else_branch: subgraph(branch(1)) }, "y");
    draft.output("y", "f32");
    const graph = draft.finish();
    const upgraded = verify(await upgrade(graph));
    for (const which of [0, 1]) {
      const x = fromFloats("f32", [2, 2], Float64Array.of(1, 2, 3, 5));
      const feeds = new Map([
        ["x", x],
        ["which", fromInts("bool", [], [which])],
      ]);
      expect(await difference(runtime, graph, upgraded, feeds)).toBe(0);
    }
  });

  it("keeps a newer graph as it is, and refuses what it cannot say", async () => {
    const draft = builder("new", 22);
    draft.input("x", "f32", [2]);
    draft.output(draft.op("Relu", ["x"]));
    const graph = draft.finish();
    expect(await upgrade(graph)).toBe(graph);
    const old = builder("old", 6);
    await expect(upgrade(old.finish())).rejects.toThrow("expected operator set 7 or newer, got 6");
    const apart = graphOf({ op: "Scan", opset: 8, inputs: [[2, 2]], attributes: {} });
    await expect(upgrade(apart.graph)).rejects.toThrow("its Scan runs over a batch");
  });
});
