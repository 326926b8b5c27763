import { afterAll, describe, expect, it } from "vitest";
import { type IndexedDataset, indexed } from "../data/dataset.ts";
import { fromTensors } from "../data/from-tensors.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { builder } from "../graph/builder.ts";
import { type Model, modelFrom } from "../models/model.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { likelihood } from "../stats/answers/likelihood.ts";
import { float32Tensor, fromInts } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { load } from "../tensor/tensor.ts";
import { parseTrainRecipe, requestOf, trainModel } from "./train-recipe.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

function noise(label: string, shape: readonly number[], scale = 1) {
  const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
  random(6, label).fillNormal(values, 0, scale);
  return float32Tensor(shape, values);
}

const [vocabulary, width, time] = [8, 16, 6];

/** Looks tokens up and says what comes next. */
function language(): Model {
  const g = builder("language");
  g.input("ids", "i64", ["n", time]);
  const x = g.op("Gather", [g.constant(noise("words", [vocabulary, width]), "words"), "ids"]);
  g.output(g.op("MatMul", [x, g.constant(noise("head", [width, vocabulary], 0.1), "head")], {}, "logits"), "f32", [
    "n",
    time,
    vocabulary,
  ]);
  return modelFrom("language", modelOf(g.finish()));
}

/** Sequences that count upwards from where they start. */
const counting = fromTensors({
  ids: fromInts(
    "i64",
    [32, time],
    Array.from({ length: 32 * time }, (_, i) => ((i % time) + Math.floor(i / time)) % vocabulary),
  ),
});

function classifier(label: string): Model {
  const g = builder(label);
  g.input("x", "f32", ["n", 4]);
  const hidden = g.op("Relu", [g.op("MatMul", ["x", g.constant(noise(`${label}a`, [4, 12]), "a")])]);
  g.output(g.op("MatMul", [hidden, g.constant(noise(`${label}b`, [12, 3]), "b")], {}, "logits"), "f32", ["n", 3]);
  return modelFrom(label, modelOf(g.finish()));
}

const points = fromTensors({ x: noise("x", [64, 4]) });

function recipe(lines: string) {
  return parseTrainRecipe(`model: m.onnx\nout: o.onnx\ntraining: t.npz\n${lines}\n`, "r.yaml");
}

async function losses(model: Model, lines: string, training: IndexedDataset, teacher: Model | null = null) {
  const { report, model: trained } = await trainModel(model, recipe(lines), { runtime, training, teacher });
  const values = report.training.points.map((point) => point.values["loss"] ?? Number.NaN);
  return { first: values[0] ?? Number.NaN, last: values.at(-1) ?? Number.NaN, trained, report };
}

describe("objectives", () => {
  it("next-token: a sequence that counts is learnt", async () => {
    const { first, last } = await losses(
      language(),
      "objective: next-token\ntrain: { epochs: 60, batch: 16, rate: 0.02 }",
      counting,
    );
    expect(first).toBeGreaterThan(1.5);
    expect(last).toBeLessThan(0.1);
  });

  it("next-token: of prompts with responses only what has a label is learnt", async () => {
    // In prompts numbers go up, in responses they come down: without labels both would be as likely.
    const rows = Array.from({ length: 32 }, (_, i) =>
      [i, i + 1, i + 2, i + 1, i, i - 1].map((n) => (n + 8) % vocabulary),
    );
    const labelled = (counts: (place: number) => boolean) =>
      indexed({
        ...counting,
        labelled: true,
        labelShape: [time],
        gather: async (positions) => ({
          inputs: new Map([
            [
              "ids",
              fromInts(
                "i64",
                [positions.length, time],
                [...positions].flatMap((at) => rows[at] ?? []),
              ),
            ],
          ]),
          labels: Int32Array.from(
            [...positions].flatMap((at) =>
              (rows[at] ?? []).map((_, t) => (counts(t) ? (rows[at]?.[t + 1] ?? -1) : -1)),
            ),
          ),
          count: positions.length,
        }),
      });
    const lines = "objective: next-token\ntrain: { epochs: 60, batch: 16, rate: 0.02 }";
    const responses = labelled((place) => place >= 2);
    const { last, trained } = await losses(language(), lines, responses);
    expect(last).toBeLessThan(0.1);
    const all = await losses(
      language(),
      lines,
      labelled(() => true),
    );
    expect(all.last).toBeGreaterThan(0.4);
    const onResponses = async (model: Model) => {
      const { nll, count } = await likelihood(runtime, model.onnx.graph, responses, { batchSize: 32 });
      return nll / count;
    };
    expect(await onResponses(trained)).toBeCloseTo(last, 1);
    expect(await onResponses(all.trained)).toBeGreaterThan(0.3);
  });

  it("distill: answers of another model are learnt, which stays as it is", async () => {
    const teacher = classifier("teacher");
    const lines = "objective: distill\ntrain: { epochs: 60, batch: 32, rate: 0.03, temperature: 1 }";
    const { first, last, trained } = await losses(classifier("student"), lines, points, teacher);
    expect(last).toBeLessThan(0.1 * first);
    expect([...trained.onnx.graph.constants.keys()].sort()).toEqual(["a", "b"]);
    expect(trained.onnx.graph.outputs.map(({ name }) => name)).toEqual(["logits"]);
    const same = noise("teachera", [4, 12]).bytes;
    expect((await load(teacher.onnx.graph.constants.get("a") ?? expect.fail())).bytes).toEqual(same);
  });

  it("start from drawn parameters where a recipe says so", async () => {
    const lines = "objective: distill\ninitialise: pytorch\ntrain: { updates: 1, batch: 32, rate: 1.0e-9 }";
    const drawn = await losses(classifier("student"), lines, points, classifier("teacher"));
    const again = await losses(classifier("other"), lines, points, classifier("teacher"));
    expect(again.first).toBe(drawn.first);
    const own = await losses(
      classifier("other"),
      lines.replace("initialise: pytorch\n", ""),
      points,
      classifier("teacher"),
    );
    expect(own.first).not.toBe(drawn.first);
  });

  it.each([
    ["labels", "", /expected labels to train on, got none.*next-token, or distill/],
    ["tokens", "objective: next-token", /next-token: expected an input of tokens/],
    ["teacher", "objective: distill", /teacher: expected a model that teaches, got none/],
  ])("that lack something say so: %s", async (_, lines, message) => {
    await expect(losses(classifier("student"), lines, points)).rejects.toThrow(message);
  });
});

describe("a recipe", () => {
  it("is one with another that only goes elsewhere", () => {
    const request = (text: string) => requestOf(parseTrainRecipe(text, "r.yaml"), points);
    const one = "model: m.onnx\nout: a.onnx\ntraining: t.npz\ntrain: { epochs: 2 }\n";
    expect(request(one.replace("a.onnx", "b.onnx\nthreads: 2\nreport: r.html\nsnapshot: 5"))).toBe(request(one));
    expect(request(one.replace("epochs: 2", "epochs: 3"))).not.toBe(request(one));
    expect(request(`${one}seed: 1\n`)).not.toBe(request(one));
  });

  it.each([
    ["train: { epoch: 3 }", /r.yaml:4:10: expected a known key, got "epoch". Did you mean "epochs"/],
    ["epochs: 3", /r.yaml:4:1: expected a known key, got "epochs". It is a key of train\./],
    ["objektive: distill", /r.yaml:4:1: expected a known key, got "objektive". Did you mean "objective"/],
    ["train: { rate: 0 }", /train.rate/],
    ["train: { epochs: 1, minutes: 1 }", /expected epochs, updates or minutes, got epochs and minutes/],
  ])("that is wrong says where: %s", async (lines, message) => {
    const run = async () =>
      losses(classifier("student"), lines, fromTensors({ x: noise("x", [64, 4]) }, new Int32Array(64)));
    await expect(run()).rejects.toThrow(message);
  });
});
