import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openFixtures } from "../../test/checkpoints/fixtures.ts";
import { startProgram } from "../../test/program-process.ts";
import { saveCheckpoint } from "../formats/checkpoint/save.node.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { saveOnnx } from "../formats/onnx/save.node.ts";
import { builder } from "../graph/builder.ts";
import { EspalierError, parseRecipe } from "../index.node.ts";
import { llamaCheckpoint } from "../testbeds/models/llama-checkpoint.ts";
import { trainBytePairs } from "../tokenizers/byte-pairs.ts";
import { commands } from "./commands.ts";
import { fileJournal, pointSchema } from "./journal.ts";
import { nodeSession } from "./node-host.ts";
import { bug, runProgram, type Session } from "./program.ts";

const examples = join(import.meta.dirname, "../../examples/glyphs");

let folder = "";
const home = process.cwd();

/** A recipe that the help's examples can run. */
const recipe = `model: model.onnx
out: recipe-small.onnx
report: recipe.html
calibration: random
steps:
  - { criterion: l2, sparsity: 0.3, round-to: 4 }
  - { criterion: l1, keep-macs: 0.9, round-to: 1, ignore: ['conv.*'] }
`;

const lessons = `model: model.onnx
out: trained.onnx
report: trained.html
initialise: kaiming-normal
training: { path: test.npz, scale: 0.00392157, limit: 64 }
evaluation: { path: test.npz, scale: 0.00392157, limit: 64 }
train: { updates: 4, batch: 32, rate: 0.003 }
`;

/** A small Llama with a tokenizer, and a text that it can read. */
async function writeLlama(): Promise<void> {
  const lines = Array.from(
    { length: 400 },
    (_, i) => `Line ${i} of ${(i * 7919) % 1000} tells what line ${i + 1} knows.`,
  );
  const tokenizer = trainBytePairs(lines, { vocabulary: 300, special: ["<s>"] });
  const sizes = { vocabulary: 300, width: 32, layers: 2, heads: 4, kvHeads: 2, inner: 48 };
  const texts = new Map([["tokenizer.json", tokenizer]]);
  await saveCheckpoint(llamaCheckpoint(sizes), join(folder, "llama"), { texts });
  writeFileSync(join(folder, "text.txt"), lines.join("\n"));
  const question = { context: "Once upon", choices: [" a time", " a hill"], gold: 0 };
  writeFileSync(join(folder, "questions.jsonl"), JSON.stringify(question));
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "espalier-cli-"));
  await writeLlama();
  copyFileSync(join(examples, "glyphs.onnx"), join(folder, "model.onnx"));
  copyFileSync(join(examples, "test.npz"), join(folder, "test.npz"));
  copyFileSync(join(examples, "calibration.npy"), join(folder, "calibration.npy"));
  writeFileSync(join(folder, "recipe.yaml"), recipe);
  writeFileSync(join(folder, "train.yaml"), lessons);
});

afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
});

interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in memory: real files in the folder, streams as text. */
async function cli(...argv: readonly string[]): Promise<Outcome> {
  let out = "";
  let err = "";
  const session = (json: boolean): Session => ({
    ...nodeSession(json),
    signal: new AbortController().signal,
    print: (text) => {
      out += `${text}\n`;
    },
    note: (text) => {
      err += `${text}\n`;
    },
    progress: () => {},
    fail: (error) => {
      if (json) out += `${JSON.stringify({ error: { code: error.code, message: error.message } })}\n`;
      err += `espalier: ${error.message}\n`;
    },
  });
  process.chdir(folder);
  try {
    const code = await runProgram(argv, {
      version: "1.2.3",
      debug: false,
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
      session,
    });
    return { code, out, err };
  } finally {
    process.chdir(home);
  }
}

/** Splits a line as a shell does, as far as the examples need it. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map(([, quoted, plain]) => quoted ?? plain ?? "");
}

describe("help", () => {
  test("the overview", async () => {
    expect((await cli("--help")).out).toMatchSnapshot();
  });

  test.each(commands.map(({ name }) => name))("%s", async (name) => {
    const { code, out } = await cli(name, "--help");
    expect(code).toBe(0);
    expect(out).toContain("Examples:");
    // The catalogue is documented by its own page.
    if (name !== "papers") expect(out).toMatchSnapshot();
  });

  test("the version is the package's", async () => {
    expect(await cli("--version")).toEqual({ code: 0, out: "1.2.3\n", err: "" });
  });
});

describe("examples of the help run as they stand", () => {
  const lines = commands.filter(({ name }) => name !== "papers").flatMap(({ examples: own }) => own);
  test.each(lines)("%s", async (line) => {
    // The words of the examples, on a small net: names that it has, and few inputs.
    const argv = words(line.replace("input=1x3x320x320", "image=1x1x28x28"));
    const [program, name = "", ...rest] = argv;
    const few = ["sensitivity", "compare"].includes(name) && !rest.includes("--limit") ? ["--limit", "16"] : [];
    const one = name === "sensitivity" && !rest.includes("--sparsities") ? ["--sparsities", "0.5"] : [];
    const { code, err, out } = await cli(name, ...rest, ...few, ...one);
    expect({ program, code, err }).toEqual({ program: "espalier", code: 0, err: "" });
    if (rest.includes("--json")) expect(typeof JSON.parse(out)).toBe("object");
    else expect(out.length).toBeGreaterThan(0);
    const report = rest[rest.indexOf("--report") + 1];
    if (rest.includes("--report")) expect(readFileSync(join(folder, report ?? ""), "utf8")).toContain("<svg");
  });
});

describe("requests that cannot be met", () => {
  const cases: readonly (readonly [string, number, string])[] = [
    ["nosuch", 2, "unknown command"],
    ["prun model.onnx", 2, "prune"],
    ["prune model.onnx --nosuch", 2, "unknown option"],
    ["prune model.onnx -o a.onnx --keep-mac 0.5", 2, "--keep-macs"],
    ["prune", 2, "missing required argument"],
    ["inspect model.onnx other.onnx", 2, "too many arguments"],
    ["prune model.onnx --keep-macs 0.5", 2, "expected a file to write to"],
    ["prune llama --sparsity 0.5", 2, "expected a folder to write to"],
    ["prune llama -o sparse", 2, "Give unlabelled inputs with --calib"],
    ["prune llama -o sparse --sparsity 0.5 --granularity rank", 2, "by which checkpoints are pruned"],
    [
      "prune llama -o small --keep-macs 0.5 --memory 2GB",
      2,
      "--memory: expected single weights, a pattern or numbered parts",
    ],
    ["prune llama -o llama --criterion l1", 1, "expected no folder or an empty one"],
    [
      "prune llama -o small --keep-macs 0.6 --recover bias --calib random --window 9",
      2,
      "expected a model with biases",
    ],
    [
      "prune model.onnx -o small.onnx --keep-macs 0.5 --recover lsq+distill+norm",
      2,
      "expected norm before what trains",
    ],
    ["prune llama -o small --keep-macs 0.6 --fix training=false", 2, "--fix training: expected an ONNX model"],
    ["prune llama -o small --keep-params 0.9 --target vlm", 2, 'Did you mean "vllm"?'],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --target vllm", 2, "which vLLM reads, got an ONNX model"],
    ["prune model.onnx -o a.onnx", 2, "expected one target, got none"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --sparsity 0.5", 2, "got --sparsity and --keep-macs"],
    ["prune model.onnx -o a.onnx --keep-macs 1.5", 2, "--keep-macs"],
    ["prune model.onnx -o a.onnx --keep-macs nan", 2, "--keep-macs"],
    ["prune model.onnx -o a.onnx --sparsity 0.5 --criterion wandaa", 2, '"wanda"'],
    ["prune model.onnx -o a.onnx --keep-macs 0", 2, "--keep-macs"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --shape nosuch=1x2", 2, "--shape nosuch"],
    ["prune model.onnx -o model.onnx --keep-macs 0.5", 2, "another file than the input"],
    ["prune model.onnx -o ./sub/../model.onnx --keep-macs 0.5", 2, "another file than the input"],
    ["prune model.onnx -o sub --keep-macs 0.5", 1, "got a folder"],
    ["prune model.onnx -o nowhere/a.onnx --keep-macs 0.5", 1, "a folder that can be written to"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --report a.pdf", 2, ".html or .json"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --report nowhere/a.html", 1, "a folder that can be written to"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --report a.onnx", 2, ".html or .json"],
    ["prune nosuch.onnx -o a.onnx --keep-macs 0.5", 1, "nosuch.onnx"],
    ["prune recipe.yaml -o a.onnx --keep-macs 0.5", 1, "recipe.yaml"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --calib nosuch.npy", 1, "nosuch.npy"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --criterion wanda", 2, "--calib"],
    ["eval model.onnx", 2, "--data"],
    ["sensitivity model.onnx", 2, "--calib"],
    ["sensitivity model.onnx --calib random --sparsities 2", 2, "fractions from 0 to 1"],
    ["compare model.onnx --methods l2+nosuch", 2, "nosuch"],
    ["compare model.onnx --methods l3", 2, "l3"],
    ["compare model.onnx --methods l2 --sparsities 0.5 --keep-macs 0.5", 2, "one kind of amount"],
    ["compare model.onnx --methods l2 --round-to often", 2, "--round-to"],
    ["compare model.onnx --methods l2 --granularity weight --round-to 8", 2, "--round-to"],
    ["compare model.onnx --methods l1 --granularity weight --keep-macs 0.5", 2, "--keep-macs"],
    ["compare model.onnx --methods l1 --granularity 2:4 --sparsities 0.3", 2, "2:4 removes 0.5 by itself"],
    ["prune model.onnx -o a.onnx --granularity 2:4 --sparsity 0.3", 2, "2:4 removes 0.5 by itself"],
    ["explain model.onnx layer1.0.conv1.weigth", 2, '"layer1.0.conv1.weight"'],
    ["run nosuch.yaml", 1, "got no file"],
    ["train nosuch.yaml", 1, "got no file"],
    ["train recipe.yaml", 2, "training: expected a value, got nothing"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --recover distil", 2, '"distill"'],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --recover lsq+nosuch --calib random", 2, "as in lsq+distill"],
    ["prune model.onnx -o a.onnx --keep-macs 0.5 --recover distill", 2, "--calib"],
    [
      "prune model.onnx -o a.onnx --keep-macs 0.5 --recover distill --epochs 1 --updates 3",
      2,
      "got epochs and updates",
    ],
  ];

  test.each(cases)("%s", async (line, code, piece) => {
    mkdirSync(join(folder, "sub"), { recursive: true });
    const before = readdirSync(folder).filter((name) => name !== "a.onnx");
    const bytes = readFileSync(join(folder, "model.onnx"));
    const outcome = await cli(...words(line));
    expect(outcome).toMatchObject({ code, out: "" });
    expect(outcome.err).toContain(piece);
    expect(outcome.err).not.toContain("    at ");
    expect(readdirSync(folder)).toEqual(before);
    expect(readFileSync(join(folder, "model.onnx")).equals(bytes)).toBe(true);
  });

  test("the nearest possible is told", async () => {
    const { code, err } = await cli(..."prune model.onnx -o a.onnx --keep-macs 0 --round-to 1".split(" "));
    expect(code).toBe(2);
    expect(err).toMatch(/\d/);
    expect(err).toMatchSnapshot();
  });

  test("with --json an error is one document too", async () => {
    for (const line of ["prune nosuch.onnx -o a.onnx --keep-macs 0.5 --json", "prune model.onnx --nosuch --json"]) {
      expect(JSON.parse((await cli(...line.split(" "))).out)).toHaveProperty("error.code");
    }
  });

  test("an error that nobody foresaw is told as a bug, with its stack on demand only", () => {
    const error = new TypeError("x is not a function");
    expect(bug(error, false).message).toMatchInlineSnapshot(
      `"espalier: this is a bug: x is not a function Please report it, with what ESPALIER_DEBUG=1 shows."`,
    );
    expect(bug(error, true).message).toContain("    at ");
  });
});

describe("an ONNX model for a target", () => {
  test("is compiled by the runtime of that target before anything is cut", async () => {
    const line = "prune model.onnx -o web.onnx --keep-macs 0.7 --round-to 8 --target transformers.js,onnxruntime";
    expect(await cli(...line.split(" "))).toMatchObject({ code: 0, err: "" });
    const g = builder(
      "strange",
      new Map([
        ["", 17],
        ["own.ops", 1],
      ]),
    );
    g.input("x", "f32", [2, 3]);
    g.add({ name: "odd", domain: "own.ops", op: "Whirl", inputs: ["x"], outputs: ["y"], attributes: new Map() });
    g.output("y", "f32", [2, 3]);
    await saveOnnx(modelOf(g.finish()), join(folder, "strange.onnx"));
    const strange = "prune strange.onnx -o never.onnx --sparsity 0.5 --target transformers.js".split(" ");
    const { code, err } = await cli(...strange);
    expect(code).toBe(2);
    expect(err).toMatch(
      /strange\.onnx: --target transformers\.js: expected a graph that Transformers\.js compiles on wasm\. .*Whirl/,
    );
    expect(readdirSync(folder)).not.toContain("never.onnx");
  });
});

describe("a pruned checkpoint", () => {
  /** The recipe in the card of a folder. */
  const recipeIn = (name: string): string => {
    const card = readFileSync(join(folder, name, "README.md"), "utf8");
    return /^## Recipe\n\n```yaml\n([^`]*)```$/m.exec(card)?.[1] ?? expect.fail(card);
  };
  const lines = [
    "prune llama -o NAME --keep-params 0.75 --scope global --target transformers --seed 3",
    "prune llama -o NAME --granularity 2:4 --calib text.txt --windows 9 --window 16 --ignore '*.o_proj.*' --seed 2",
    "prune llama -o NAME --criterion sparsegpt --sparsity 0.4 --calib text.txt --limit 6 --window 16 --inputs dense --memory 2GB --eval text.txt",
    "prune llama -o NAME --sparsity 0.3 --granularity channel --criterion wanda --calib text.txt --windows 6 --window 16 --threads 1",
  ];

  test.each(lines.map((line, i) => [line, i] as const))("holds a recipe that makes it again: %s", async (line, i) => {
    const [first, second] = [`made-${i}`, `again-${i}`];
    const { out, code, err } = await cli(...words(`${line.replace("NAME", first)} --json --report sheet.html`));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(JSON.parse(out).loads[0]).toMatchObject({ loader: "transformers" });
    const page = readFileSync(join(folder, "sheet.html"), "utf8");
    for (const part of ["<svg", "What loads it", "Seconds by phase"]) expect(page).toContain(part);
    const text = recipeIn(first);
    expect(text).toContain("\nmodel: llama\nout: llama-pruned\n");
    expect(/^batch: \d+$/m.test(text)).toBe(line.includes("--memory"));
    writeFileSync(join(folder, "card.yaml"), text.replace("out: llama-pruned", `out: ${second}`));
    expect(await cli("run", "card.yaml")).toMatchObject({ code: 0, err: "" });
    const files = readdirSync(join(folder, first));
    expect(readdirSync(join(folder, second))).toEqual(files);
    expect(files.includes("kept-indices.json")).toBe(i === 0 || i === 3);
    for (const file of files) {
      expect(readFileSync(join(folder, second, file)), file).toEqual(readFileSync(join(folder, first, file)));
    }
    // Planted fault: another seed, or another amount, gives another model.
    const other = text
      .replace("out: llama-pruned", "out: other")
      .replace(/seed: \d|sparsity: 0.\d/, (told) => (told.startsWith("seed") ? "seed: 9" : "sparsity: 0.6"));
    writeFileSync(join(folder, "card.yaml"), i === 0 ? other.replace("0.75", "0.6") : other);
    expect(await cli("run", "card.yaml")).toMatchObject({ code: 0, err: "" });
    const tensors = (name: string): Buffer => readFileSync(join(folder, name, "model.safetensors"));
    expect(tensors("other").equals(tensors(first))).toBe(false);
    for (const name of [first, second, "other"]) rmSync(join(folder, name), { recursive: true });
  });

  const weights =
    "model: llama\nout: run-sparse\ncalibration: { path: text.txt, window: 16 }\nwindows: 4\nsteps: [{ sparsity: 0.5 }]\n";

  test.each([
    [
      "memory for units behind weights",
      `${weights.replace("}]", "}, { keep-macs: 0.6 }]")}memory: 2GB\n`,
      "--memory: expected single weights",
    ],
    ["sizes of inputs", `${weights}shape: { input_ids: [1, 4] }\n`, "shape: expected an ONNX model"],
    ["data to train on", `${weights}training: text.txt\n`, "training: expected a step of units"],
    [
      "memory for units",
      `${weights.replace("sparsity", "keep-macs")}memory: 2GB\n`,
      "--memory: expected single weights",
    ],
    ["no size", `${weights}memory: much\n`, 'bad.yaml:6:9: memory: expected a size such as 500MB or 3GB, got "much"'],
    ["a strange target", `${weights}target: vlm\n`, "target: expected one of transformers, vllm"],
    ["no report", `${weights}report: a.pdf\n`, ".html or .json"],
    ["ranks", weights.replace("sparsity", "granularity: rank, keep-params"), "by which checkpoints are pruned"],
    [
      "windows of an ONNX model",
      recipe.replace("steps", "windows: 3\nsteps"),
      "windows: expected the folder of a checkpoint",
    ],
  ])("is refused where its recipe has %s", async (_, text, message) => {
    writeFileSync(join(folder, "bad.yaml"), text);
    const { code, err, out } = await cli("run", "bad.yaml");
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
    rmSync(join(folder, "bad.yaml"));
    expect(readdirSync(folder).filter((name) => name.startsWith("run-sparse"))).toEqual([]);
  });

  test("can be made in steps, which the recipe in its card repeats", async () => {
    const steps =
      "[{ keep-params: 0.8 }, { granularity: 2:4, ignore: ['*.mlp.*'] }, { sparsity: 0.3, ignore: ['*.self_attn.*'] }]";
    writeFileSync(join(folder, "steps.yaml"), weights.replace("[{ sparsity: 0.5 }]", `${steps}\nreport: steps.html`));
    const { out, err } = await cli("run", "steps.yaml", "--json");
    expect(err).toBe("");
    const { layers, after, before } = JSON.parse(out);
    expect(new Set(layers.map(({ kind }: { kind: string }) => kind))).toEqual(new Set(["units", "weights"]));
    expect(after.params).toBeLessThan(0.85 * before.params);
    expect(after.nonzero).toBeLessThan(0.9 * after.params);
    writeFileSync(join(folder, "card.yaml"), recipeIn("run-sparse").replace("out: llama-pruned", "out: run-again"));
    expect(await cli("run", "card.yaml")).toMatchObject({ code: 0, err: "" });
    for (const file of readdirSync(join(folder, "run-sparse"))) {
      // What was measured of latency is not in the card.
      const [one, two] = ["run-sparse", "run-again"].map((name) => readFileSync(join(folder, name, file)));
      expect(two, file).toEqual(one);
    }
    for (const name of ["run-sparse", "run-again"]) rmSync(join(folder, name), { recursive: true });
  });

  test("can lose blocks, in the words of the command line and of the recipe in its card", async () => {
    const line =
      "--granularity block --sparsity 0.5 --calib text.txt --window 16 --eval text.txt --target transformers";
    const told = await cli(...words(`prune llama -o shallow ${line}`));
    expect(told).toMatchObject({ code: 0, err: "" });
    expect(told.out).toMatch(/\d of \d blocks of num_hidden_layers went: \d/);
    expect(told.out).toMatch(/perplexity: [\d.]+ before, [\d.]+ after/);
    writeFileSync(join(folder, "card.yaml"), recipeIn("shallow").replace("out: llama-pruned", "out: shallow-again"));
    const again = await cli("run", "card.yaml", "--json");
    expect(again).toMatchObject({ code: 0, err: "" });
    const { parts, params, before } = JSON.parse(again.out);
    expect(parts).toMatchObject([{ what: "blocks" }]);
    expect(params).toBeLessThan(before.params);
    for (const file of readdirSync(join(folder, "shallow"))) {
      const [one, two] = ["shallow", "shallow-again"].map((name) => readFileSync(join(folder, name, file)));
      expect(two, file).toEqual(one);
    }
    const none = await cli(...words("prune llama -o other --granularity block --sparsity 0.5"));
    expect(none.err).toContain("influence: expected calibration inputs");
    expect(readdirSync(folder)).not.toContain("other");
    const layer = "--granularity layer --sparsity 0.25 --calib text.txt --window 16";
    const thin = await cli(...words(`prune llama -o thin ${layer}`));
    expect(thin.out).toMatch(/1 of \d layers of (attention|mlp) went: \d/);
    expect(JSON.parse(readFileSync(join(folder, "thin", "config.json"), "utf8"))).toHaveProperty("per_layer_config");
    const padded = await cli(...words(`prune llama --dry-run ${layer} --target transformers`));
    expect(padded.out).toContain("as large and as slow as before");
    for (const name of ["shallow", "shallow-again", "thin"]) rmSync(join(folder, name), { recursive: true });
  });

  test("can lose experts, as many in each block or where they are worth least", async () => {
    mkdirSync(join(folder, "mixture"));
    for (const [name, bytes] of openFixtures().files("mixtral")) writeFileSync(join(folder, "mixture", name), bytes);
    const line = "--granularity expert --calib random --windows 4 --window 9 --keep-params 0.8";
    const told = await cli(...words(`prune mixture -o fewer ${line} --memory 2GB --report fewer.html`));
    expect(told).toMatchObject({ code: 0, err: "" });
    expect(told.out).toMatch(/\d of 4 experts of model\.layers\.0\.block_sparse_moe\.experts went: \d/);
    expect(told.out).toMatch(/Removed equals masked within/);
    expect(readFileSync(join(folder, "fewer.html"), "utf8")).toContain("experts went");
    const { num_local_experts: left } = JSON.parse(readFileSync(join(folder, "fewer", "config.json"), "utf8"));
    expect(left).toBeLessThan(4);
    expect(readFileSync(join(folder, "fewer", "README.md"), "utf8")).toMatch(/\d of 8 experts went\./);
    expect(JSON.parse(readFileSync(join(folder, "fewer", "kept-indices.json"), "utf8"))).toHaveProperty("experts");
    const anywhere = await cli(...words(`prune mixture --dry-run --scope global ${line} --json`));
    expect(JSON.parse(anywhere.out)).toMatchObject({ parts: [{ what: "experts" }, { what: "experts" }] });
    const many = await cli(...words("prune mixture --dry-run --granularity expert --criterion random --sparsity 0.9"));
    expect(many.err).toContain("--sparsity: expected at most 0.5 of the experts, got 0.9");
    const dense = await cli(...words("prune llama --dry-run --granularity expert --criterion random --sparsity 0.5"));
    expect(dense.err).toContain("expected a model with experts, got llama without");
    for (const name of ["mixture", "fewer", "fewer.html"]) rmSync(join(folder, name), { recursive: true });
  });

  test("can lose tokens, in the words of the command line and of the recipe in its card", async () => {
    writeFileSync(join(folder, "few.txt"), "Line 7 tells what line 8 knows.");
    const line = "--granularity vocabulary --calib few.txt --eval few.txt --round-to 4";
    const told = await cli(...words(`prune llama -o spoken ${line}`));
    expect(told).toMatchObject({ code: 0, err: "" });
    expect(told.out).toMatch(/\d+ of 300 tokens of vocab_size went: \d/);
    expect(told.out).toMatch(/bits per byte: [\d.]+ before, [\d.]+ after \(31 bytes\)/);
    expect(told.out).toContain("tokens of the corpus are the same as before, which was verified on every document.");
    writeFileSync(join(folder, "card.yaml"), recipeIn("spoken").replace("out: llama-pruned", "out: spoken-again"));
    const again = await cli("run", "card.yaml", "--json");
    expect(again).toMatchObject({ code: 0, err: "" });
    const { parts, params, before } = JSON.parse(again.out);
    expect(parts).toMatchObject([{ what: "tokens", before: 300 }]);
    expect(params).toBe(before.params - 2 * 32 * (300 - parts[0].after));
    for (const file of readdirSync(join(folder, "spoken"))) {
      const [one, two] = ["spoken", "spoken-again"].map((name) => readFileSync(join(folder, name, file)));
      expect(two, file).toEqual(one);
    }
    expect((await cli(...words("prune llama -o other --granularity vocabulary"))).err).toContain("expected a corpus");
    const asked = await cli(...words(`prune llama -o other ${line} --target llama.cpp`));
    expect(asked.err).toContain("expected the whole vocabulary of a byte-level tokenizer, got a part");
    const random = await cli(...words("prune llama -o other --granularity vocabulary --calib random"));
    expect(random.err).toContain("random: expected text, got other data");
    expect(readdirSync(folder)).not.toContain("other");
    for (const name of ["spoken", "spoken-again"]) rmSync(join(folder, name), { recursive: true });
  });

  test("is not written in a dry run, which says what it would be", async () => {
    writeFileSync(join(folder, "dry.yaml"), `${weights}report: dry.json\nevaluation: { path: text.txt, window: 16 }\n`);
    const before = readdirSync(folder);
    const { out, err } = await cli("run", "dry.yaml", "--dry-run", "--json");
    expect(err).toBe("");
    const { metric, pruned } = JSON.parse(out);
    expect(metric).toMatchObject({ name: "perplexity" });
    expect(pruned.after).toBe(pruned.before / 2);
    const made = "--calib random --windows 3 --window 9 --sparsity 0.5";
    for (const line of ["--keep-params 0.8", "--granularity 2:4 --criterion l1", made]) {
      expect(await cli(...words(`prune llama --dry-run ${line}`))).toMatchObject({ code: 0, err: "" });
    }
    expect(readdirSync(folder)).toEqual(before);
    // The same written has the same figures.
    const written = await cli("run", "dry.yaml", "--json");
    expect(JSON.parse(written.out)).toMatchObject({ metric, pruned });
    expect(readdirSync(folder)).toEqual([...before, "dry.json", "run-sparse"].sort());
  });
});

describe("recipes say where they are wrong", () => {
  const cases: readonly (readonly [string, string, string])[] = [
    [
      "unknown key",
      recipe.replace("keep-macs", "keep-mac"),
      'bad.yaml:7:22: expected a known key, got "keep-mac". Did you mean "keep-macs"?',
    ],
    [
      "unknown key at the top",
      `${recipe}modle: x\n`,
      'bad.yaml:8:1: expected a known key, got "modle". Did you mean "model"?',
    ],
    [
      "a key of another part",
      `${recipe}scale: 0.1\n`,
      'bad.yaml:8:1: expected a known key, got "scale". It is a key of calibration, general, training and evaluation.',
    ],
    [
      "a share above one",
      recipe.replace("0.3", "1.3"),
      "bad.yaml:6:32: steps.0.sparsity: expected at most 1, got 1.3.",
    ],
    ["a wrong type", recipe.replace("0.3", "many"), 'bad.yaml:6:32: steps.0.sparsity: expected number, got "many".'],
    ["a missing key", recipe.replace("model: model.onnx\n", ""), "model: expected string, got nothing."],
    ["no steps", "model: a\nout: b\nsteps: []\n", "bad.yaml:3:8: steps: expected at least 1, got []."],
    ["no YAML", "model: [1, 2\nout: b\n", "expected YAML"],
    ["a key twice", `${recipe}model: x\n`, "bad.yaml:8:1: expected YAML"],
    ["an unknown key of data", recipe.replace("random", "{ path: a, sise: 3 }"), 'Did you mean "size"?'],
    ["nothing", "", "expected"],
    [
      "a bomb of aliases",
      `a: &a [1]\n${"bcdefghij"
        .split("")
        .map((k, i) => `${k}: &${k} [${`*${"abcdefghij"[i]},`.repeat(9)}]`)
        .join("\n")}\n`,
      "aliases",
    ],
  ];
  test.each(cases)("%s", async (_, text, piece) => {
    writeFileSync(join(folder, "bad.yaml"), text);
    const { code, err } = await cli("run", "bad.yaml");
    expect(err).toContain(piece);
    expect(code).toBe(2);
    rmSync(join(folder, "bad.yaml"));
  });
});

describe("resume", () => {
  const line = "sensitivity model.onnx --calib random --limit 4 --sparsities 0.5 --json --resume journal.jsonl";
  const path = (): string => join(folder, "journal.jsonl");

  test("a run continues from a journal that was cut anywhere, and gives the same answer", async () => {
    const whole = await cli(...line.split(" "));
    const text = readFileSync(path(), "utf8");
    for (const share of [0.01, 0.3, 0.6, 0.97]) {
      writeFileSync(path(), text.slice(0, Math.floor(text.length * share)));
      expect(await cli(...line.split(" "))).toEqual(whole);
      expect(readFileSync(path(), "utf8").length).toBe(text.length);
    }
  });

  test("finished parts are taken from the journal, which a planted one shows", async () => {
    writeFileSync(path(), readFileSync(path(), "utf8").replaceAll('"relativeError":', '"relativeError":7e77,"was":'));
    expect((await cli(...line.split(" "))).out).toContain("7e+77");
  });

  test("the journal of another request is refused", async () => {
    const other = await cli(...line.replace("--limit 4", "--limit 5").split(" "));
    expect(other).toMatchObject({ code: 2 });
    expect(other.err).toContain("another's");
  });

  test("a broken line in the middle is told with its place", async () => {
    const host = nodeSession(true);
    host.close();
    writeFileSync(path(), '{"espalier":{}}\nnonsense\n{}\n');
    await expect(fileJournal(path(), {}, pointSchema, host)).rejects.toThrow(EspalierError);
    await expect(fileJournal(path(), {}, pointSchema, host)).rejects.toThrow(/journal.jsonl:2/);
    rmSync(path());
  });
});

describe("texts that are gone on with", () => {
  const said = async (line: string) => {
    const { code, out, err } = await cli(...words(`generate llama --json --temperature 1.2 ${line}`));
    expect(err).toBe("");
    expect(code).toBe(0);
    const { answers } = JSON.parse(out);
    return answers;
  };
  const [a, b] = ["--prompt 'Line 7 of'", "--prompt 'Line 12 of 3 tells what'"];

  test("say together what they say alone, and in two runs what they say in one", async () => {
    const together = await said(`${a} ${b} --seed 3 --max-tokens 9 --save whole.json`);
    expect([...(await said(`${a} --seed 3 --max-tokens 9`)), ...(await said(`${b} --seed 4 --max-tokens 9`))]).toEqual(
      together,
    );
    await said(`${a} ${b} --seed 3 --max-tokens 5 --save part.json`);
    const { out } = await cli(...words("generate llama --json --resume part.json --max-tokens 4 --save part.json"));
    expect(JSON.parse(out).answers).toEqual(together);
    expect(JSON.parse(readFileSync(join(folder, "part.json"), "utf8"))).toEqual(
      JSON.parse(readFileSync(join(folder, "whole.json"), "utf8")),
    );
  });

  test("end where they are told, each by its own, and stay ended", async () => {
    const [{ text }] = await said(`${a} --seed 3 --max-tokens 9`);
    const end = text.slice(3, 5);
    const before = text.slice(0, text.indexOf(end));
    const records = [
      { prompt: "Line 7 of", stop: end, seed: 3 },
      { prompt: "Line 7 of", "max-tokens": 2, seed: 3 },
    ];
    writeFileSync(join(folder, "prompts.jsonl"), records.map((record) => JSON.stringify(record)).join("\n"));
    const found = await said("--prompts prompts.jsonl --max-tokens 9 --save ended.json");
    expect(found[0]).toMatchObject({ text: before, ended: "stop" });
    expect(found[1]).toMatchObject({ tokens: 2, ended: "length" });
    const { out } = await cli(...words("generate llama --json --resume ended.json"));
    const more = JSON.parse(out).answers;
    expect(more[0]).toEqual(found[0]);
    expect(more[1].tokens).toBe(4);
    expect(more[1].text.startsWith(found[1].text)).toBe(true);
  });

  test("are refused where there are none, or what was saved is something else", async () => {
    writeFileSync(join(folder, "other.json"), '{"texts":[]}');
    for (const [line, message] of [
      ["", "got none"],
      ["--prompt a --resume whole.json", "got both"],
      ["--resume missing.json", "got no file"],
      ["--resume other.json", "Name a file that --save wrote"],
      ["--resume prompts.jsonl", "got no JSON"],
    ] as const) {
      const { code, err } = await cli(...words(`generate llama ${line}`));
      expect(err).toContain(message);
      expect(code).toBeGreaterThan(0);
    }
  });
});

describe("as a process", () => {
  const start = (...argv: readonly string[]) => startProgram(folder, ...argv);

  test("--json prints one document on stdout", async () => {
    const { code, out } = await start("inspect", "model.onnx", "--json").ended;
    expect(code).toBe(0);
    expect(JSON.parse(out)).toHaveProperty("macs");
  });

  test("a reader that leaves is no failure", async () => {
    const { child, ended } = start("inspect", "model.onnx");
    child.stdout.destroy();
    expect(await ended).toMatchObject({ code: 0, err: "" });
  });

  test("Ctrl-C ends by the signal and leaves no output", async () => {
    const { child, ended } = start(
      ..."sensitivity model.onnx --calib random --limit 2000 --report left.html".split(" "),
    );
    await new Promise((resolve) => setTimeout(resolve, 4000));
    child.kill("SIGINT");
    const { signal, out } = await ended;
    expect({ signal, out }).toEqual({ signal: "SIGINT", out: "" });
    expect(existsSync(join(folder, "left.html"))).toBe(false);
    expect(readdirSync(folder).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
});

describe("what a newcomer meets", () => {
  test("run --help shows a recipe that parses", async () => {
    const { code, out } = await cli("run", "--help");
    expect(code).toBe(0);
    const shown = out.slice(out.indexOf("  model: "));
    expect(parseRecipe(shown, "help").steps).toHaveLength(2);
  });

  test("the page on checkpoints shows a recipe that parses", () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/checkpoints.md"), "utf8");
    const shown = /```yaml\n([^`]*)```/.exec(page)?.[1] ?? expect.fail();
    expect(parseRecipe(shown, "docs")).toMatchObject({ memory: 3e9, target: ["transformers", "vllm"], windows: 128 });
  });

  test("the summary tells matrices with zeros from groups of units", async () => {
    const { out } = await cli("prune", "model.onnx", "--granularity", "weight", "--sparsity", "0.5", "--dry-run");
    expect(out).toMatch(/^of them not zero +77\.8 k +39\.\d k/m);
    expect(out).toMatch(/^(\d+) of \1 weight matrices got zeros\.$/m);
    expect(out).not.toContain("groups became smaller");
  });
});
