import { afterAll, describe, expect, it } from "vitest";
import { gradient } from "../../src/autodiff/gradient.ts";
import { blockChannels } from "../../src/autodiff/lower.ts";
import { type Algebra, algebra } from "../../src/graph/algebra/algebra.ts";
import { ints } from "../../src/graph/attributes.ts";
import { builder } from "../../src/graph/builder.ts";
import type { Feeds } from "../../src/graph/graph.ts";
import { removeDeadCode } from "../../src/graph/passes/dead-code.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { float32Tensor, toFloat64 } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { sizeOf } from "../../src/tensor/tensor.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

interface Case {
  readonly x: readonly number[];
  readonly w: readonly number[];
  readonly y: readonly number[];
  readonly strides?: readonly number[];
  readonly dilations?: readonly number[];
  readonly pads?: readonly number[];
}

const cases: Readonly<Record<string, Case>> = {
  "3 x 3": { x: [8, 16, 6, 5], w: [8, 16, 3, 3], y: [8, 8, 6, 5], pads: [1, 1, 1, 1] },
  "steps of two that do not reach the end": {
    x: [16, 16, 9, 8],
    w: [32, 16, 3, 3],
    y: [16, 32, 4, 3],
    strides: [2, 2],
  },
  "steps, pads of one side": {
    x: [8, 8, 7, 8],
    w: [16, 8, 3, 2],
    y: [8, 16, 4, 4],
    strides: [2, 2],
    pads: [1, 0, 1, 0],
  },
  dilated: { x: [8, 16, 7, 7], w: [16, 16, 3, 3], y: [8, 16, 5, 5], dilations: [2, 2], pads: [1, 1, 1, 1] },
  "a position": { x: [8, 32, 4, 4], w: [16, 32, 1, 1], y: [8, 16, 4, 4] },
  "channels that do not fill a block": { x: [8, 15, 6, 6], w: [31, 15, 3, 3], y: [8, 31, 6, 6], pads: [1, 1, 1, 1] },
  "a batch that does not fill a block": { x: [14, 16, 6, 6], w: [15, 16, 3, 3], y: [14, 15, 6, 6], pads: [1, 1, 1, 1] },
};

/** y, dx, dw and db of one convolution, as it is or in blocks of channels; and the operators that the graph has. */
async function outcome(form: Case, block: number, feeds: Feeds, spoil: (g: Algebra) => void = () => {}) {
  const { x, w, y, strides = [1, 1], dilations = [1, 1], pads = [0, 0, 0, 0] } = form;
  const g = algebra({ graph: builder("conv").finish(), types: new Map(), values: new Map() });
  const operands = [g.input("x", "f32", x), g.input("w", "f32", w), g.input("b", "f32", w.slice(0, 1))];
  const attributes = { strides: ints(strides), dilations: ints(dilations), pads: ints(pads) };
  const out = g.op("Conv", operands, attributes, { dtype: "f32", shape: y });
  const found = gradient(g, g.sum(g.mul(out, g.input("dy", "f32", y))), ["x", "w", "b"], { channelBlock: block });
  if (block > 0) blockChannels(g, block);
  spoil(g);
  for (const { name } of [out, ...found.values()]) g.draft.output(name, "f32");
  const graph = removeDeadCode(g.finish().graph);
  const session = await runtime.compile(graph);
  const results = await session.run(feeds);
  await session.release();
  return {
    values: [...results.values()].map((tensor) => toFloat64(tensor)),
    blocked: graph.nodes.filter(({ domain, op }) => domain === "com.microsoft.nchwc" && op === "Conv").length,
  };
}

function drawn({ x, w, y }: Case): Feeds {
  const shapes = { x, w, b: w.slice(0, 1), dy: y };
  return new Map(
    Object.entries(shapes).map(([name, shape]) => {
      const values = new Float32Array(sizeOf(shape));
      random(0, name).fillNormal(values, 0, 1);
      return [name, float32Tensor(shape, values)];
    }),
  );
}

function apart(a: readonly Float64Array[], b: readonly Float64Array[]): number {
  let most = 0;
  for (const [index, values] of a.entries()) {
    const other = b[index] ?? new Float64Array();
    const largest = values.reduce((max, v) => Math.max(max, Math.abs(v)), 0);
    const distance = values.reduce((max, v, i) => Math.max(max, Math.abs(v - (other[i] ?? Number.NaN))), 0);
    most = Math.max(most, other.length === values.length ? distance / largest : Number.POSITIVE_INFINITY);
  }
  return most;
}

describe.skipIf(runtime.channelBlock === 0)("convolutions in blocks of channels, as this processor has them", () => {
  it("finds how many channels a block has", () => {
    expect([4, 8, 16]).toContain(runtime.channelBlock);
  });

  it.each(Object.entries(cases))("%s: outputs and gradients are those of the plain form", async (_, form) => {
    const feeds = drawn(form);
    const plain = await outcome(form, 0, feeds);
    const blocks = await outcome(form, runtime.channelBlock, feeds);
    expect(plain.blocked).toBe(0);
    expect(blocks.blocked).toBeGreaterThan(0);
    expect(apart(plain.values, blocks.values)).toBeLessThan(2e-5);
  });

  it("sees a kernel whose blocks are in another order", async () => {
    const form = cases["3 x 3"];
    if (form === undefined) throw new Error("no such case");
    const feeds = drawn(form);
    const plain = await outcome(form, 0, feeds);
    const wrong = await outcome(form, runtime.channelBlock, feeds, (g) => {
      const node = g.draft
        .nodes()
        .find(({ op, inputs }) => op === "Transpose" && inputs.some((n) => g.of(n).shape.length === 5));
      if (node === undefined) throw new Error("no kernel in blocks");
      g.draft.setAttributes(node, { perm: ints([0, 2, 4, 1, 3]) });
    });
    expect(apart(plain.values, wrong.values)).toBeGreaterThan(0.1);
  });

  it("leaves convolutions of few channels and groups as they are", async () => {
    const few: Case = { x: [3, 3, 6, 6], w: [5, 3, 3, 3], y: [3, 5, 4, 4] };
    expect((await outcome(few, runtime.channelBlock, drawn(few))).blocked).toBe(0);
  });
});
