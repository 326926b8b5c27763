/**
 * Forms of gradients side by side, on one thread: those that the rules of src/ops write, first, and those they do not.
 * Prints the tenth percentile of interleaved runs in milliseconds, which other work on the machine disturbs least.
 * Usage: npx tsx bench/gradients.ts [--only "3x3"] [--runs 60] [--threads 1]
 */
import { parseArgs } from "node:util";
import { gradient } from "../src/autodiff/gradient.ts";
import { blockChannels } from "../src/autodiff/lower.ts";
import { type Algebra, algebra, type Value } from "../src/graph/algebra/algebra.ts";
import { int, ints, string } from "../src/graph/attributes.ts";
import { builder } from "../src/graph/builder.ts";
import { removeDeadCode } from "../src/graph/passes/dead-code.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { fromFloats, fromInts } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import { type HostTensor, type Shape, sizeOf } from "../src/tensor/tensor.ts";

const { values: options } = parseArgs({
  options: {
    only: { type: "string", default: "" },
    runs: { type: "string", default: "60" },
    threads: { type: "string", default: "1" },
  },
});

/** A convolution: batch, input and output channels, height, kernel, stride, groups. */
type Layer = readonly [n: number, i: number, o: number, h: number, k: number, s: number, g: number];
type Form = (g: Algebra, x: Value, w: Value, dy: Value) => Value;

const layers: Readonly<Record<string, Layer>> = {
  "3x3, 3 to 16 channels at 32": [16, 3, 16, 32, 3, 1, 1],
  "3x3, 16 to 16 at 32": [16, 16, 16, 32, 3, 1, 1],
  "3x3, 64 to 64 at 8": [16, 64, 64, 8, 3, 1, 1],
  "3x3, 64 to 64 at 56": [1, 64, 64, 56, 3, 1, 1],
  "3x3, 512 to 512 at 7": [1, 512, 512, 7, 3, 1, 1],
  "3x3 by 2, 128 to 256 at 28": [1, 128, 256, 28, 3, 2, 1],
  "7x7 by 2, 3 to 64 at 224": [1, 3, 64, 224, 7, 2, 1],
  "16x16 patches, 3 to 384 at 224": [1, 3, 384, 224, 16, 16, 1],
  "3x3 depthwise, 96 at 56": [1, 96, 96, 56, 3, 1, 96],
  "3x3 depthwise by 2, 96 at 56": [1, 96, 96, 56, 3, 2, 96],
  "3x3 in 4 groups, 128 at 28": [1, 128, 128, 28, 3, 1, 4],
  "1x1, 64 to 256 at 28": [1, 64, 256, 28, 1, 1, 1],
};

const runtime = await openRuntime({ threads: Number(options.threads), worker: false });
for (const [name, layer] of Object.entries(layers)) {
  if (!name.includes(options.only)) continue;
  const [n, i, o, h, k, s, groups] = layer;
  const p = k === s ? 0 : (k - 1) >> 1;
  const out = Math.floor((h + 2 * p - k) / s) + 1;
  const attributes = { pads: ints([p, p, p, p]), strides: ints([s, s]), group: int(groups) };
  const rule =
    (index: 0 | 1, channelBlock = 0): Form =>
    (g, x, w, dy) => {
      const y = g.op("Conv", [x, w], attributes, dy);
      const found = gradient(g, g.sum(g.mul(y, dy)), [[x, w][index]?.name ?? ""], { channelBlock });
      if (channelBlock > 0) blockChannels(g, channelBlock);
      return [...found.values()][0] ?? y;
    };
  const parts = (g: Algebra, x: Value): readonly Value[] => {
    const padded = g.pad(x, [0, 0, p, p], [0, 0, p, p]);
    const at = (axis: number, start: number) => ({ axis, start, end: start + (out - 1) * s + 1, step: s });
    return Array.from({ length: k * k }, (_, t) => g.cut(padded, [at(2, Math.floor(t / k)), at(3, t % k)]));
  };
  const swapped = (g: Algebra, v: Value): Value => g.transpose(v, [1, 0, 2, 3]);
  const weight: Readonly<Record<string, Form>> = {
    rule: rule(1),
    "rule, in blocks of channels": rule(1, runtime.channelBlock),
    "columns of the batch": (g, x, _, dy) => {
      const columns = g.concat(
        parts(g, swapped(g, x)).map((part) => g.reshape(part, [groups, i / groups, n * out * out])),
        1,
      );
      const d = g.reshape(swapped(g, dy), [groups, o / groups, n * out * out]);
      const product = g.reshape(g.matMul(d, g.swapLast(columns)), [groups, o / groups, k * k, i / groups]);
      return g.reshape(g.transpose(product, [0, 1, 3, 2]), [o, i / groups, k, k]);
    },
    "convolution with dy": (g, x, _, dy) => {
      const local = i / groups;
      const images = g.transpose(g.reshape(x, [n, groups, local, h, h]), [2, 1, 0, 3, 4]);
      const full = h + 2 * p - (out - 1) * s;
      const type = { dtype: x.dtype, shape: [local, o, full, full] };
      const form = { pads: ints([p, p, p, p]), dilations: ints([s, s]), group: int(groups) };
      const found = g.op("Conv", [g.reshape(images, [local, groups * n, h, h]), swapped(g, dy)], form, type);
      return swapped(
        g,
        g.cut(
          found,
          [2, 3].map((axis) => ({ axis, start: 0, end: k, step: 1 })),
        ),
      );
    },
  };
  const data: Readonly<Record<string, Form>> = {
    rule: rule(0),
    "rule, in blocks of channels": rule(0, runtime.channelBlock),
    "transposed convolution": (g, x, w, dy) => {
      const extra = h - ((out - 1) * s + k - 2 * p);
      return g.op("ConvTranspose", [dy, w], { ...attributes, output_padding: ints([extra, extra]) }, x);
    },
    "convolution with the turned kernel": (g, x, w, dy) => {
      const spaced = g.pad(g.reshape(dy, [n * o * out, 1, out, 1]), [0, 0, 0, 0], [0, s - 1, 0, s - 1]);
      const turned = g.cut(w, k === 1 ? [] : [2, 3].map((axis) => ({ axis, start: k - 1, end: -1, step: -1 })));
      const split = g.reshape(turned, [groups, o / groups, i / groups, k, k]);
      const kernel = g.reshape(g.transpose(split, [0, 2, 1, 3, 4]), [i, o / groups, k, k]);
      const q = k - 1 - p;
      const tail = q + h - (out * s + 2 * q - k + 1);
      const form = { pads: ints([q, q, tail, tail]), group: int(groups) };
      return g.op("Conv", [g.reshape(spaced, [n, o, out * s, out * s]), kernel], form, x);
    },
  };
  const shapes = { x: [n, i, h, h], w: [o, i / groups, k, k], dy: [n, o, out, out] };
  await race(`${name}: weights`, weight, shapes);
  // Zeros between positions of patches would be a convolution of their own, hundreds of times slower.
  const { "convolution with the turned kernel": turned, ...others } = data;
  await race(`${name}: data`, s > 2 || turned === undefined ? others : data, shapes);
}
await lookups();
await pools();
await runtime.close();

/** What a table of embeddings gets: rows added by the rule's ScatterND, against one ScatterElements. */
async function lookups(): Promise<void> {
  if (!"embedding".includes(options.only)) return;
  const [rows, width, tokens] = [3000, 128, 4096];
  const shapes = { x: [rows, width], w: [1], dy: [tokens, width] };
  const indices = fromInts(
    "i64",
    [tokens],
    Array.from({ length: tokens }, (_, t) => (t * 7919) % rows),
  );
  const forms: Readonly<Record<string, Form>> = {
    rule: (g, x, _, dy) => {
      const y = g.gather(x, g.constant(indices, "tokens"), 0);
      return [...gradient(g, g.sum(g.mul(y, dy)), [x.name]).values()][0] ?? y;
    },
    ScatterElements: (g, x, _, dy) => {
      const places = g.expand(g.reshape(g.constant(indices, "tokens"), [tokens, 1]), dy.shape);
      const zeros = g.expand(0, x.shape, "f32");
      return g.op("ScatterElements", [zeros, places, dy], { axis: int(0), reduction: string("add") }, x);
    },
  };
  await race("embedding, 4096 tokens of 128", forms, shapes);
}

/** What a maximum over windows gets: the rule's comparison, against the runtime's indices. */
async function pools(): Promise<void> {
  const forms = [
    ["maximum of 2x2 by 2", [16, 16, 28, 28], 2, 0],
    ["maximum of 3x3 by 2", [1, 64, 112, 112], 3, 1],
  ] as const;
  for (const [name, shape, k, p] of forms) {
    if (!name.includes(options.only)) continue;
    const out = Math.floor((shape[2] + 2 * p - k) / 2) + 1;
    const pooled = [shape[0], shape[1], out, out];
    const attributes = { kernel_shape: ints([k, k]), strides: ints([2, 2]), pads: ints([p, p, p, p]) };
    const rule: Form = (g, x, _, dy) => {
      const y = g.op("MaxPool", [x], attributes, dy);
      g.draft.output(y.name, "f32");
      return [...gradient(g, g.sum(g.mul(y, dy)), [x.name]).values()][0] ?? y;
    };
    const indices: Form = (g, x, _, dy) => {
      const [y = dy, places = dy] = g.ops("MaxPool", [x], attributes, [dy, { dtype: "i64", shape: pooled }]);
      g.draft.output(y.name, "f32");
      const count = sizeOf(pooled);
      const zeros = g.expand(0, [sizeOf(shape)], "f32");
      const operands = [zeros, g.reshape(places, [count, 1]), g.reshape(dy, [count])];
      return g.reshape(g.op("ScatterND", operands, { reduction: string("add") }, zeros), shape);
    };
    await race(`${name}, both ways`, { rule, indices }, { x: shape, w: [1], dy: pooled });
  }
}

async function race(
  name: string,
  forms: Readonly<Record<string, Form>>,
  shapes: Readonly<Record<"x" | "w" | "dy", Shape>>,
) {
  const feeds = new Map<string, HostTensor>();
  for (const [seed, [key, shape]] of Object.entries(shapes).entries()) {
    const values = new Float64Array(sizeOf(shape));
    random(seed, "bench").fillNormal(values, 0, 1);
    feeds.set(key, fromFloats("f32", shape, values));
  }
  const entries = [];
  for (const [form, write] of Object.entries(forms)) {
    const empty = builder(
      "bench",
      new Map([
        ["", 21],
        ["com.microsoft", 1],
      ]),
    ).finish();
    const g = algebra({ graph: empty, types: new Map(), values: new Map() });
    const [x, w, dy] = [g.input("x", "f32", shapes.x), g.input("w", "f32", shapes.w), g.input("dy", "f32", shapes.dy)];
    g.draft.output(write(g, x, w, dy).name, "f32");
    entries.push({ form, session: await runtime.compile(removeDeadCode(g.finish().graph)), feeds });
  }
  const times = await runtime.measure(entries, { runs: Number(options.runs), warmup: 2, maxSeconds: 10 });
  console.log(`${name}: ${entries.map(({ form }, at) => `${form} ${times[at]?.p10Ms.toFixed(2)}`).join(", ")}`);
  for (const { session } of entries) await session.release();
}
