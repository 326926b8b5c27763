import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type IndexedDataset, indexed } from "../data/dataset.ts";
import { fromTensors } from "../data/from-tensors.ts";
import { openCheckpointFolder } from "../formats/checkpoint/open.node.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { int, ints } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { useDef } from "../graph/uses.ts";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { modelFrom } from "../models/model.ts";
import { type PruneOptions, prune } from "../pipeline/prune.ts";
import { checkpointPlanOf } from "../plans/checkpoint-plan.ts";
import { recoveries, recoveryNamed } from "../plans/methods.ts";
import { planOf, type Settings } from "../plans/settings.ts";
import { evaluate } from "../runtime/evaluate.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { pruneFolderSteps } from "../stream/folders/prune-folder-steps.node.ts";
import { type FloatType, isFloat, onnxNumberOf } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { converted, float32Tensor, fromFloats, fromInts, toFloat32, toFloat64 } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { type HostTensor, load, type Shape, sizeOf } from "../tensor/tensor.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import type { Recovery } from "./recovery.ts";

let runtime: Runtime;
let folder = "";
beforeAll(async () => {
  runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
  folder = await mkdtemp(join(tmpdir(), "espalier-recoveries-"));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

/** What is taken away. */
const cuts = {
  units: { granularity: "channel", criterion: "l2", sparsity: 0.3, roundTo: 1 },
  weights: { granularity: "weight", criterion: "l1", sparsity: 0.6 },
  "N:M": { granularity: "2:4", criterion: "l1" },
  blocks: { granularity: "layer", criterion: "random", sparsity: 0.3 },
} as const satisfies Readonly<Record<string, Settings>>;
type Cut = keyof typeof cuts;
const cutNames = ["units", "weights", "N:M", "blocks"] as const satisfies readonly Cut[];

const types = ["f32", "f16", "bf16"] as const satisfies readonly FloatType[];
type Stored = (typeof types)[number];

/** Front parts of each model that nothing prunes and no training reaches. */
const front = ["stem*", "*.layers.0.*"];

/**
 * x [n, 4, 4, 4] to classes [n, 5]: a stem, a residual block of one kernel that is read twice, one with norms, and a head. In half
 * floats it computes in them; bfloat16 is stored alone.
 */
function pictures(dtype: Stored): Graph {
  const g = builder("pictures", 17);
  const computed = dtype === "f16" ? "f16" : "f32";
  const normal = (name: string, shape: Shape, mean: number, sd: number): string => {
    const values = new Float32Array(sizeOf(shape));
    random(4, name).fillNormal(values, mean, sd);
    const stored = g.constant(fromFloats(dtype, shape, values), name);
    return dtype === computed ? stored : g.op("Cast", [stored], { to: int(onnxNumberOf(computed)) });
  };
  const kernel = (name: string, out: number, inputs: number, size: number) =>
    normal(name, [out, inputs, size, size], 0, Math.sqrt(2 / (inputs * size * size)));
  const conv = (x: string, weight: string, size: number) => {
    const pad = (size - 1) / 2;
    return g.op("Conv", [x, weight], { kernel_shape: ints([size, size]), pads: ints([pad, pad, pad, pad]) });
  };
  const norm = (x: string, name: string, size: number) =>
    g.op("BatchNormalization", [
      x,
      ...[normal(`${name}.scale`, [size], 1, 0.2), normal(`${name}.shift`, [size], 0.3, 0.3)],
      ...[normal(`${name}.mean`, [size], 0, 0.1), normal(`${name}.variance`, [size], 1.2, 0.1)],
    ]);
  const x = g.input("x", computed, ["n", 4, 4, 4]);
  const stem = g.op("Relu", [norm(conv(x, kernel("stem", 8, 4, 3), 3), "stem", 8)]);
  const tied = kernel("tied", 8, 8, 1);
  const first = g.op("Add", [stem, conv(g.op("Relu", [conv(stem, tied, 1)]), tied, 1)]);
  const inner = g.op("Relu", [norm(conv(first, kernel("inner", 12, 8, 3), 3), "inner", 12)]);
  const second = g.op("Add", [first, norm(conv(inner, kernel("outer", 8, 12, 1), 1), "outer", 8)]);
  const flat = g.op("Flatten", [g.op("GlobalAveragePool", [g.op("Relu", [second])])]);
  const head = [flat, normal("head", [8, 5], 0, 0.5), normal("head.bias", [5], 0, 0.1)];
  g.output(g.op("Gemm", head, {}, "y"), computed, ["n", 5]);
  return g.finish();
}

function images(dtype: Stored, seed: number): IndexedDataset {
  const values = new Float32Array(64 * 64);
  random(seed, "images").fillNormal(values, 0.8, 0.6);
  return fromTensors({ x: fromFloats(dtype === "f16" ? "f16" : "f32", [64, 4, 4, 4], values) });
}

/** A Llama whose head is its table of embeddings. */
const words = { vocabulary: 24, width: 8, layers: 2, heads: 2, kvHeads: 1, inner: 16, tied: true };
const llama = (dtype: Stored) => checkpointModel(llamaCheckpoint(words, dtype));
const time = 12;

function text(_: Stored, seed: number): IndexedDataset {
  const source = random(seed, "text");
  const tokens = Array.from({ length: 24 * time }, () => source.int(words.vocabulary));
  return fromTensors({ input_ids: fromInts("i64", [24, time], tokens) });
}

/** Rows of classes. */
interface Answers {
  readonly values: Float32Array;
  readonly classes: number;
}

async function answersOf(graph: Graph, data: IndexedDataset): Promise<Answers> {
  const name = graph.outputs[0]?.name ?? "";
  const { inputs } = await data.gather(Int32Array.from({ length: data.count }, (_, i) => i));
  const y = (await evaluate(runtime, graph, [name], inputs)).get(name) ?? expect.fail();
  return { values: toFloat32(y), classes: y.shape.at(-1) ?? 1 };
}

const answered = new WeakMap<Graph, Map<IndexedDataset, Promise<Answers>>>();
/** The same, computed once for each graph. */
function answersTo(graph: Graph, data: IndexedDataset): Promise<Answers> {
  const known = answered.get(graph) ?? new Map<IndexedDataset, Promise<Answers>>();
  answered.set(graph, known);
  const found = known.get(data) ?? answersOf(graph, data);
  known.set(data, found);
  return found;
}

/** ‖b − a‖² / ‖a‖² */
function distance(a: Answers, b: Answers): number {
  const square = (sum: number, n: number): number => sum + n * n;
  return a.values.map((n, i) => n - (b.values[i] ?? 0)).reduce(square, 0) / a.values.reduce(square, 0);
}

function likeliest({ values, classes }: Answers): Int32Array {
  return Int32Array.from({ length: values.length / classes }, (_, r) => {
    const row = values.subarray(r * classes, (r + 1) * classes);
    return row.indexOf(Math.max(...row));
  });
}

/** log p of each class, rows one after the other. */
function logs({ values, classes }: Answers): Float32Array {
  const found = values.slice();
  for (let at = 0; at < found.length; at += classes) {
    const row = found.subarray(at, at + classes);
    const total = Math.log(row.reduce((sum, n) => sum + Math.exp(n), 0));
    for (const i of row.keys()) row[i] = (row[i] ?? 0) - total;
  }
  return found;
}

/** Mean over rows of Σ p · (log p − log q). */
function divergence(p: Answers, q: Answers): number {
  const [these, those] = [logs(p), logs(q)];
  return (these.reduce((sum, n, i) => sum + Math.exp(n) * (n - (those[i] ?? 0)), 0) * p.classes) / these.length;
}

/** Mean of −log p of these classes. */
function crossEntropy(answers: Answers, labels: Int32Array): number {
  const found = logs(answers);
  return -labels.reduce((sum, label, r) => sum + (found[r * answers.classes + label] ?? 0), 0) / labels.length;
}

/** The same inputs, each place of an answer with its likeliest class as its label. */
function labelled(data: IndexedDataset, labels: Int32Array): IndexedDataset {
  const each = labels.length / data.count;
  return indexed({
    ...data,
    labelled: true,
    labelShape: each === 1 ? [] : [each],
    async gather(positions) {
      const own = [...positions].flatMap((p) => [...labels.subarray(p * each, (p + 1) * each)]);
      return { ...(await data.gather(positions)), labels: Int32Array.from(own) };
    },
  });
}

/** How a model is pruned and repaired: the graph that comes out, and the phases that it went through. */
type Way = (dtype: Stored, cut: Cut, recover: string | readonly Recovery[], options: WayOptions) => Promise<Graph>;

interface WayOptions extends Pick<PruneOptions, "calibration" | "training"> {
  readonly phases?: string[];
  readonly seed?: number;
}

const learning = { updates: 10, batch: 24, rate: 0.003, freeze: front };
const shared = (dtype: Stored, cut: Cut, { phases = [], ...given }: WayOptions) => {
  // What is read twice cannot be repaired by itself: only blocks take it away.
  const ignore = cut === "weights" || cut === "N:M" ? [...front, "tied", "*embed*"] : [...front, "*embed*"];
  const progress = ({ phase }: { readonly phase: string }): unknown => phases.push(phase);
  return { runtime, measure: false, batchSize: 16, seed: 0, ...given, ignore, progress, name: `${dtype} ${cut}` };
};

const asOnnx: Way = async (dtype, cut, recover, options) => {
  const plan = planOf({ ...cuts[cut], learning, ...(typeof recover === "string" ? { recover } : {}) }, 0);
  const planned = typeof recover === "string" ? plan : { ...plan, recovery: recover };
  const all = { ...shared(dtype, cut, options), compare: false };
  return (await prune(modelFrom("pictures", modelOf(pictures(dtype))), planned, all)).model.onnx.graph;
};

let folders = 0;
const asCheckpoint: Way = async (dtype, cut, recover, options) => {
  if (typeof recover !== "string") return expect.fail();
  const plan = checkpointPlanOf({ ...cuts[cut], learning, recover }, 0);
  const { ignore, ...all } = shared(dtype, cut, options);
  const out = join(folder, String(folders++));
  await pruneFolderSteps(llama(dtype), out, [{ plan, ignore }], {
    ...{ calibration: null, ...all },
  });
  const small = checkpointModel(await openCheckpointFolder(out));
  expect(small.checkpoint.config["tie_word_embeddings"]).toBe(true);
  return small.graph().graph;
};

/** A model with its inputs, and what it answered before anything was pruned. */
interface Subject {
  readonly way: Way;
  readonly dtype: Stored;
  readonly original: Graph;
  readonly near: IndexedDataset;
  readonly far: IndexedDataset;
  readonly answers: readonly [near: Answers, far: Answers];
  /** Near, with labels. */
  readonly training: IndexedDataset;
}

const models = {
  model: { way: asOnnx, graph: pictures, data: images },
  checkpoint: { way: asCheckpoint, graph: (dtype: Stored) => llama(dtype).graph().graph, data: text },
} as const;
type Kind = keyof typeof models;

const subjects = new Map<string, Promise<Subject>>();
/** Everything that runs share is made once. */
function subjectOf(kind: Kind, dtype: Stored): Promise<Subject> {
  const key = `${kind} ${dtype}`;
  const known = subjects.get(key) ?? made(kind, dtype);
  subjects.set(key, known);
  return known;
}

async function made(kind: Kind, dtype: Stored): Promise<Subject> {
  const { way, graph, data } = models[kind];
  const original = graph(dtype);
  const [near, far] = [data(dtype, 1), data(dtype, 2)];
  const answers = [await answersOf(original, near), await answersOf(original, far)] as const;
  return { way, dtype, original, near, far, answers, training: labelled(near, likeliest(answers[0])) };
}

const graphs = new Map<string, Promise<Graph>>();
/** A pruned graph, repaired or not, from seed 0 and data with labels; made once. */
function left(kind: Kind, dtype: Stored, cut: Cut, recover = "none"): Promise<Graph> {
  const key = `${kind} ${dtype} ${cut} ${recover}`;
  const from = ({ way, near, training }: Subject) => way(dtype, cut, recover, { calibration: near, training });
  const known = graphs.get(key) ?? subjectOf(kind, dtype).then(from);
  graphs.set(key, known);
  return known;
}

async function constantsOf(graph: Graph): Promise<ReadonlyMap<string, HostTensor>> {
  const found = new Map<string, HostTensor>();
  for (const [name, ref] of graph.constants) found.set(name, await load(ref));
  return found;
}

/** What a repair is judged by: how far answers are from the original's, as distributions where it learns these, or from the labels. */
type Loss = (side: 0 | 1, answers: Answers, subject: Subject) => number;
const toOriginal: Loss = (side, answers, { answers: wanted }) => distance(wanted[side], answers);
const toDistributions: Loss = (side, answers, { answers: wanted }) => divergence(wanted[side], answers);
const toLabels: Loss = (side, answers, { answers: wanted }) => crossEntropy(answers, likeliest(wanted[side]));

const positions = (values: Float64Array): readonly number[] => [...values.keys()].filter((i) => values[i] === 0);

/** The laws of every repair; each throws where it is broken. `before` is the pruned graph, `after` the repaired one. */
const laws = {
  "zeros of matrices stay, and are as many": async (before: Graph, after: Graph) => {
    const now = await constantsOf(after);
    for (const [name, tensor] of await constantsOf(before)) {
      if (!isFloat(tensor.dtype) || !isMatrix(tensor.shape)) continue;
      const found = now.get(name) ?? expect.fail(name);
      expect({ name, zeros: positions(toFloat64(found)) }).toEqual({ name, zeros: positions(toFloat64(tensor)) });
    }
  },
  "types and shapes stay": async (before: Graph, after: Graph) => {
    for (const [name, { dtype, shape }] of before.constants) {
      expect({ name, ...pick(after, name) }).toEqual({ name, dtype, shape });
    }
    expect(after.inputs).toEqual(before.inputs);
    expect(after.outputs.map(({ dtype, dims }) => ({ dtype, dims }))).toEqual(
      before.outputs.map(({ dtype, dims }) => ({ dtype, dims })),
    );
  },
  "all numbers are finite": async (_: Graph, after: Graph) => {
    for (const [name, tensor] of await constantsOf(after)) {
      if (isFloat(tensor.dtype))
        expect({ name, finite: toFloat64(tensor).every(Number.isFinite) }).toEqual({ name, finite: true });
    }
  },
  "what lies in front of it stays byte by byte": async (before: Graph, after: Graph) => {
    const [was, is] = [await constantsOf(before), await constantsOf(after)];
    const untouched = [...was].filter(([name, { dtype }]) => !isFloat(dtype) || /^stem|\.layers\.0\./.test(name));
    expect(untouched.length).toBeGreaterThan(4);
    for (const [name, { bytes }] of untouched) expect({ name, bytes: is.get(name)?.bytes }).toEqual({ name, bytes });
  },
  "what is read twice is read as often": async (before: Graph, after: Graph) => {
    const often = (graph: Graph) => {
      const uses = useDef(graph);
      const matrices = [...before.constants].filter(([, { shape }]) => isMatrix(shape));
      return matrices.map(([name]) => ({ name, readers: uses.consumers(name).length }));
    };
    expect(often(after)).toEqual(often(before));
  },
} as const satisfies Readonly<Record<string, (before: Graph, after: Graph) => Promise<void>>>;

/** What is added or multiplied by channel is none, however many axes it has. */
function isMatrix(shape: Shape): boolean {
  return shape.filter((n) => n > 1).length >= 2;
}

function pick({ constants }: Graph, name: string) {
  const ref = constants.get(name);
  return { dtype: ref?.dtype, shape: ref?.shape };
}

/** The loss falls by a twentieth where it was measured, and rises by no more than a tenth elsewhere. */
async function gains(subject: Subject, before: Graph, after: Graph, loss: Loss): Promise<void> {
  const at = async (graph: Graph, side: 0 | 1, data: IndexedDataset) =>
    loss(side, await answersTo(graph, data), subject);
  const plainly = await at(before, 0, subject.near);
  expect(plainly).toBeGreaterThan(1e-3);
  expect(await at(after, 0, subject.near)).toBeLessThan(0.95 * plainly);
  expect(await at(after, 1, subject.far)).toBeLessThan(1.1 * (await at(before, 1, subject.far)));
}

/** What the documentation says of each recovery: "repairs", or the code that it is refused with; by its columns. */
async function documented(): Promise<ReadonlyMap<string, ReadonlyMap<string, string>>> {
  const page = await readFile("docs/recoveries.md", "utf8");
  const [, part = ""] = page.split("<!-- recoveries:");
  const cellsOf = (line: string) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim().replaceAll("`", ""));
  const [head = [], , ...rows] = part
    .split("\n")
    .filter((line) => line.startsWith("|"))
    .map(cellsOf);
  const [, ...columns] = head;
  return new Map(
    rows.map(([name = "", ...cells]) => [name, new Map(columns.map((column, i) => [column, cells[i] ?? ""]))]),
  );
}
const table = await documented();
const told = (recover: string, column: string): string => table.get(recover)?.get(column) ?? "";
const columnOf: Readonly<Record<Kind, Readonly<Record<Cut, string>>>> = {
  model: { units: "units", weights: "weights", "N:M": "N:M", blocks: "blocks" },
  checkpoint: {
    units: "units of a Llama checkpoint",
    weights: "its weights",
    "N:M": "its N:M",
    blocks: "its blocks",
  },
};

/** Fails unless a run is refused with a code, and does nothing before that but to look at the model. */
async function refused(code: string, run: (phases: string[]) => Promise<unknown>): Promise<void> {
  const phases: string[] = [];
  const error = await run(phases).then(
    () => expect.fail(`expected to be refused with ${code}`),
    (cause: unknown) => cause,
  );
  expect(error).toBeInstanceOf(EspalierError);
  expect(error).toMatchObject({ code });
  expect(phases.filter((phase) => phase !== "analyse")).toEqual([]);
}

function lossOf(recover: string): Loss {
  if (told(recover, "without labels") !== "repairs") return toLabels;
  return recoveryNamed(recover).some(({ trains }) => trains) ? toDistributions : toOriginal;
}

const names = [...recoveries.keys()].filter((name) => recoveryNamed(name).length > 0);

it("every recovery is documented, and no other", () => {
  expect([...table.keys()]).toEqual(names);
});

describe.each(["model", "checkpoint"] as const)("repairs of a %s", (kind) => {
  describe.each(types)("in %s", (dtype) => {
    describe.each(cutNames)("without some of its %s", (cut) => {
      it.each(names)("%s", async (recover) => {
        const subject = await subjectOf(kind, dtype);
        const { way, near, training } = subject;
        const options = { calibration: near, training };
        const expected = told(recover, columnOf[kind][cut]);
        if (expected !== "repairs") {
          await refused(expected, (phases) => way(dtype, cut, recover, { ...options, phases }));
          return;
        }
        const before = await left(kind, dtype, cut);
        const after = await left(kind, dtype, cut, recover);
        for (const law of Object.values(laws)) await law(before, after);
        await gains(subject, before, after, lossOf(recover));
      });
    });
  });
});

describe.each(names)("%s", (recover) => {
  const [recovery = expect.fail()] = recoveryNamed(recover);

  it.each([
    ["without inputs", () => ({ calibration: null, training: null })],
    ["without labels", ({ near }: Subject) => ({ calibration: near, training: near })],
  ] as const)("is refused %s if it is said to be", async (column, given) => {
    const [subject, expected] = [await subjectOf("model", "f32"), told(recover, column)];
    expect(["request", "data", "repairs"]).toContain(expected);
    if (expected === "repairs") return;
    await refused(expected, (phases) => asOnnx("f32", "weights", recover, { ...given(subject), phases }));
  });

  it("gives the same bytes for a seed, whatever labels say that it does not need, and others for another where it learns", async () => {
    const { near, training } = await subjectOf("model", "bf16");
    const needed = told(recover, "without labels") === "repairs" ? near : training;
    const bytes = async (graph: Graph) => [...(await constantsOf(graph))].map(([name, tensor]) => [name, tensor.bytes]);
    const by = (seed: number) => asOnnx("bf16", "weights", recover, { calibration: near, training: needed, seed });
    const once = await bytes(await left("model", "bf16", "weights", recover));
    expect(await bytes(await by(0))).toEqual(once);
    if (recovery.trains === true) expect(await bytes(await by(2))).not.toEqual(once);
  });

  it.each(names)("behind %s, refused where that has learnt to do without what it gives back", (earlier) => {
    const [first = expect.fail()] = recoveryNamed(earlier);
    const chain = () => recoveryNamed(`${earlier}+${recover}`).map(({ id }) => id);
    if (recovery.restores === true && first.trains === true) {
      expect(chain).toThrow(expect.objectContaining({ code: "request" }));
    } else expect(chain()).toEqual([first.id, recovery.id]);
  });
});

describe("chains", () => {
  const layered = (recover: string) => planOf({ granularity: "layer", sparsity: 0.3, recover }, 0);

  it.each(["bias", "bias+lsq", "lsq+bias"])("of whole blocks, %s gives the means of what went", (recover) => {
    const plan = layered(recover);
    expect(plan).toMatchObject({ means: true });
    expect(plan.recovery.map(({ id }) => id)).toEqual(recover.split("+").filter((name) => name !== "bias"));
    expect(layered("lsq")).toMatchObject({ means: false });
  });

  it("bias behind what trains, and bias of layers that come apart, are refused", () => {
    expect(() => layered("distill+bias")).toThrow(expect.objectContaining({ code: "request" }));
    const ranked = (recover: string) => planOf({ granularity: "rank", keepMacs: 0.5, recover }, 0);
    expect(() => ranked("lsq+bias")).toThrow(expect.objectContaining({ code: "request" }));
    expect(ranked("lsq").recovery).toHaveLength(1);
  });
});

describe("planted faults", () => {
  const planted = (apply: Recovery["apply"]): readonly Recovery[] => [{ id: "planted", needsData: true, apply }];
  const changed = (graph: Graph, name: string, change: (tensor: HostTensor) => HostTensor): Promise<Graph> =>
    load(graph.constants.get(name) ?? expect.fail()).then((tensor) => {
      const now = change(tensor);
      return { ...graph, constants: new Map(graph.constants).set(name, { ...now, resident: now.bytes }) };
    });
  const numbers = (change: (values: Float32Array) => Float32Array) => (tensor: HostTensor) =>
    converted(float32Tensor(tensor.shape, change(toFloat32(tensor).slice())), tensor.dtype);
  const repaired = async (apply: Recovery["apply"]) => {
    const { near, training } = await subjectOf("model", "f32");
    return asOnnx("f32", "weights", planted(apply), { calibration: near, training });
  };
  const revived = (graph: Graph) =>
    changed(
      graph,
      "inner",
      numbers((w) => w.fill(1e-6, w.indexOf(0), w.indexOf(0) + 1)),
    );

  it("a recovery that does nothing is named in the report", async () => {
    const { near } = await subjectOf("model", "f32");
    const plan = { ...planOf(cuts.weights, 0), recovery: planted(({ pruned }) => Promise.resolve(pruned)) };
    const options = { runtime, calibration: near, measure: false, compare: false, batchSize: 16, seed: 0 };
    const { report } = await prune(modelFrom("pictures", modelOf(pictures("f32"))), plan, options);
    expect(report.advice).toContain("Recovery planted found nothing that it could repair.");
  });

  it("a recovery that does nothing, and one that revives a zero", async () => {
    const [subject, before] = [await subjectOf("model", "f32"), await left("model", "f32", "weights")];
    const idle = await repaired(({ pruned }) => Promise.resolve(pruned));
    for (const law of Object.values(laws)) await law(before, idle);
    for (const loss of [toOriginal, toDistributions, toLabels])
      await expect(gains(subject, before, idle, loss)).rejects.toThrow();
    const alive = await repaired(({ pruned }) => revived(pruned));
    await expect(laws["zeros of matrices stay, and are as many"](before, alive)).rejects.toThrow("inner");
  });

  it.each<readonly [string, keyof typeof laws, (graph: Graph) => Promise<Graph>]>([
    [
      "one that makes a zero",
      "zeros of matrices stay, and are as many",
      (graph) =>
        changed(
          graph,
          "head",
          numbers((w) => w.fill(0, 0, 40)),
        ),
    ],
    [
      "one that stores in another type",
      "types and shapes stay",
      (graph) => changed(graph, "inner", (tensor) => converted(tensor, "f16")),
    ],
    [
      "one that loses itself",
      "all numbers are finite",
      (graph) =>
        changed(
          graph,
          "outer",
          numbers((w) => w.fill(Number.NaN)),
        ),
    ],
    [
      "one that touches the stem",
      "what lies in front of it stays byte by byte",
      (graph) =>
        changed(
          graph,
          "stem.scale",
          numbers((w) => w.map((n) => n * 1.001)),
        ),
    ],
    [
      "one that parts what is tied",
      "what is read twice is read as often",
      async (graph) => {
        const tied = graph.constants.get("tied") ?? expect.fail();
        const [reader] = useDef(graph).consumers("tied");
        const own = (name: string) => (name === "tied" ? "tied.own" : name);
        const nodes = graph.nodes.map((node) =>
          node === reader?.node ? { ...node, inputs: node.inputs.map(own) } : node,
        );
        return { ...graph, nodes, constants: new Map(graph.constants).set("tied.own", tied) };
      },
    ],
  ])("%s", async (_, law, spoil) => {
    const before = await left("model", "f32", "weights");
    await expect(laws[law](before, await spoil(before))).rejects.toThrow();
    await expect(laws[law](before, before)).resolves.toBeUndefined();
  });
});
