import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { fromTensors } from "../../src/data/from-tensors.ts";
import type { Checkpoint } from "../../src/formats/checkpoint/open.ts";
import { loadCheckpoint, methods, pruneFolderUnits } from "../../src/index.node.ts";
import { analyse } from "../../src/models/analysis.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { recoveryNamed } from "../../src/plans/methods.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { randomTokens } from "../../src/stream/stages/random-tokens.ts";
import { checkLaw } from "../../src/surgery/law.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { random } from "../../src/tensor/random.ts";
import { load, refOf, type TensorRef } from "../../src/tensor/tensor.ts";
import { inFloat32, openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
let runtime: Runtime;
let folder = "";
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = mkdtempSync(join(tmpdir(), "espalier-units-"));
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

function tokensOf({ outline }: CheckpointModel, windows: number, time: number) {
  const draw = random(3, "repair");
  const ids = Array.from({ length: windows * time }, () => draw.int(outline.vocabulary));
  return fromInts("i64", [windows, time], ids);
}

describe("units of a checkpoint", () => {
  it.each([
    ["llama", { intermediate_size: 12, num_attention_heads: 1, num_key_value_heads: 1, hidden_size: 8, head_dim: 4 }],
    ["gpt2", { n_inner: 32, n_embd: 16, n_head: 4 }],
  ] as const)("half of those of %s go, and what a config cannot state stays with its reason", async (name, fields) => {
    const model = checkpointModel(await inFloat32(await fixtures.open(name)));
    const out = join(folder, name);
    const plan = methods.structured({ sparsity: 0.5, roundTo: 1 });
    const report = await pruneFolderUnits(model, out, plan, { runtime, measure: false });
    const small = await loadCheckpoint(out);
    expect(small.checkpoint.config).toMatchObject(fields);
    expect(small.checkpoint.config).not.toHaveProperty("per_layer_config");
    const reasons = report.blocked.flatMap(({ reasons: why }) => why);
    expect(reasons.some((reason) => /v_proj.*on axis 0|has to stay|would have|would be/.test(reason))).toBe(true);
    expect(report.law?.passed).toBe(true);
  });

  it.each(["qwen3", "olmo2", "olmoe", "qwen3_moe", "deepseek_v2-lite", "deepseek_v3"])(
    "norms of %s over other features than the width's compute what they did, with the one ε that a config has",
    async (name) => {
      const model = checkpointModel(await inFloat32(await fixtures.open(name)));
      const plan = methods.structured({ sparsity: 0.5, roundTo: 1 });
      const report = await pruneFolderUnits(model, join(folder, `even-${name}`), plan, { runtime, measure: false });
      expect(report.law?.relative).toBeLessThan(1e-4);
      // Planted fault: what such a norm is over is larger than it was.
      const small = checkpointModel((await loadCheckpoint(join(folder, `even-${name}`))).checkpoint);
      const tensors = new Map(small.checkpoint.tensors);
      for (const { matrix } of small.stages.flatMap(({ norms }) => [...norms.values()])) {
        const ref = tensors.get(matrix) ?? missing(matrix);
        tensors.set(
          matrix,
          refOf(
            float32Tensor(
              ref.shape,
              toFloat32(await load(ref)).map((x) => 1.5 * x),
            ),
          ),
        );
      }
      const broken = checkpointModel({ ...small.checkpoint, tensors });
      const graphs = [small.graph().graph, broken.graph().graph] as const;
      expect((await checkLaw(runtime, ...graphs, [randomTokens(small, 0)], 1e-5)).passed).toBe(false);
    },
  );

  it("are repaired without parameters that the files have no place for", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    const calibration = fromTensors(new Map([["input_ids", tokensOf(model, 8, 64)]]));
    const left = async (recover: string): Promise<number> => {
      const plan = { ...methods.structured({ sparsity: 0.4, roundTo: 1 }), recovery: recoveryNamed(recover) };
      const out = join(folder, `repaired-${recover}`);
      const report = await pruneFolderUnits(model, out, plan, { runtime, calibration });
      const names = [...(await loadCheckpoint(out)).checkpoint.tensors.keys()].sort();
      expect(names).toEqual([...model.checkpoint.tensors.keys()].sort());
      return report.fidelity?.relativeError ?? Number.NaN;
    };
    expect(await left("lsq")).toBeLessThan(0.9 * (await left("none")));
    const plan = { ...methods.structured({ sparsity: 0.4, roundTo: 1 }), recovery: recoveryNamed("bias") };
    await expect(pruneFolderUnits(model, join(folder, "biased"), plan, { runtime, calibration })).rejects.toThrow(
      "recovery bias: expected a model with biases",
    );
  });

  it("nothing is written where the checkpoint would compute something else", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    // Planted fault: the original graph that is pruned is that of another checkpoint, whose ε is larger.
    const other = checkpointModel(await inFloat32(await fixtures.open("llama", { rms_norm_eps: 0.5 })));
    const out = join(folder, "broken");
    const plan = methods.structured({ sparsity: 0.5, roundTo: 1 });
    await expect(
      pruneFolderUnits({ ...model, graph: other.graph }, out, plan, { runtime, measure: false }),
    ).rejects.toThrow("expected the checkpoint to compute what the pruned graph does");
    expect(readdirSync(folder)).not.toContain("broken");
  });

  it.each([
    ["model.layers.1.mlp.down_proj.weight", Number.NaN, "got NaN at [0, 5]"],
    ["model.layers.0.input_layernorm.weight", Number.POSITIVE_INFINITY, "got Infinity at [5]"],
  ])("weights that are not finite are named: %s", async (name, value, message) => {
    const checkpoint = await inFloat32(await fixtures.open("llama"));
    const ref = checkpoint.tensors.get(name) ?? missing(name);
    const values = toFloat32(await load(ref)).slice();
    values[5] = value;
    const tensors = new Map([...checkpoint.tensors, [name, refOf(float32Tensor(ref.shape, values))] as const]);
    const plan = methods.structured({ sparsity: 0.3, roundTo: 1 });
    const pruning = pruneFolderUnits(checkpointModel({ ...checkpoint, tensors }), join(folder, "nan"), plan, {
      runtime,
    });
    await expect(pruning).rejects.toThrow(`llama: ${name}: expected finite weights, ${message}.`);
    expect(readdirSync(folder)).not.toContain("nan");
  });

  it("are chosen so that what is asked for loads them: blocks alike, heads that divide the width", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    for (const [i, options] of [{ keepParams: 0.6 }, { sparsity: 0.4 }].entries()) {
      const out = join(folder, `alike-${i}`);
      const plan = methods.structured({ ...options, scope: "global", roundTo: 1 });
      const report = await pruneFolderUnits(model, out, plan, { runtime, measure: false, loaders: ["transformers"] });
      const { config } = (await loadCheckpoint(out)).checkpoint;
      expect(config).not.toHaveProperty("per_layer_config");
      expect(Number(config["hidden_size"]) % Number(config["num_attention_heads"])).toBe(0);
      expect(report.after.params).toBeLessThan(report.before.params);
      const said = report.loads?.map(({ loader, verdict }) => [loader, verdict]);
      expect(said).toContainEqual(["transformers", "loads"]);
      expect(said).toHaveLength(5);
    }
    // Without, the same plan leaves blocks that differ, which the report says.
    const plan = methods.structured({ keepParams: 0.6, scope: "global", roundTo: 1 });
    const out = join(folder, "uneven");
    const report = await pruneFolderUnits(model, out, plan, { runtime, measure: false });
    expect((await loadCheckpoint(out)).checkpoint.config).toHaveProperty("per_layer_config");
    expect(report.loads?.find(({ loader }) => loader === "transformers")?.verdict).toBe("refused");
    expect(report.loads?.find(({ loader }) => loader === "onnxruntime")?.verdict).toBe("loads");
  });

  it("blocks that differ are filled with zeros where they have to be alike, and compute the same", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    const { plan, ids } = await given(model, [22, 19]);
    const out = join(folder, "padded");
    const report = await pruneFolderUnits(model, out, plan, { runtime, measure: false, loaders: ["vllm"] });
    expect(report.advice.at(-1)).toBe(
      "3 units that went are zeros in the checkpoint, since all blocks have to be alike.",
    );
    const { checkpoint } = await loadCheckpoint(out);
    expect(checkpoint.config).toMatchObject({ intermediate_size: 22 });
    expect(checkpoint.config).not.toHaveProperty("per_layer_config");
    const rows = await rowsOf(checkpoint.tensors.get(ids[1] ?? ""));
    expect(rows.filter((row) => row.every((x) => x === 0))).toHaveLength(3);
    // It computes what the one with uneven blocks does.
    const uneven = join(folder, "ragged");
    await pruneFolderUnits(model, uneven, plan, { runtime, measure: false });
    const [a, b] = [await loadCheckpoint(out), await loadCheckpoint(uneven)];
    expect(b.checkpoint.config["per_layer_config"]).toEqual({
      0: { intermediate_size: 22 },
      1: { intermediate_size: 19 },
    });
    const law = await checkLaw(runtime, a.graph().graph, b.graph().graph, [randomTokens(a, 1)], 1e-5);
    expect(law.passed).toBe(true);
    // Planted fault: another unit than the one that went is a zero.
    const [name = ""] = ids;
    const wrong = new Map(checkpoint.tensors);
    const zeroed = toFloat32(await load(wrong.get(name) ?? missing(name))).fill(0, 0, 16);
    wrong.set(name, refOf(float32Tensor([22, 16], zeroed)));
    const broken = checkpointModel({ ...checkpoint, tensors: wrong });
    expect((await checkLaw(runtime, broken.graph().graph, b.graph().graph, [randomTokens(a, 1)], 1e-5)).passed).toBe(
      false,
    );
  });

  it("nothing is cut where what is asked for would refuse it, and the nearest sizes are told", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    const { graph } = model.graph();
    const { coupling } = await analyse(graph, runtime);
    const hidden = coupling.groups.find(({ size, members }) => size === 16 && members.length > 8) ?? missing("hidden");
    const mask = new Uint8Array(16).fill(1);
    mask[3] = 0;
    const plan = { ...methods.structured({ sparsity: 0.5, roundTo: 1 }), given: new Map([[hidden.id, mask]]) };
    const out = join(folder, "refused");
    const pruning = pruneFolderUnits(model, out, plan, { runtime, measure: false, loaders: ["transformers"] });
    await expect(pruning).rejects.toThrow(
      /--target transformers: expected a width that is a multiple of the number of query heads, got a width of 15 with 4 heads\..*nearest that it takes: hidden_size = 12 or 16\./,
    );
    expect(readdirSync(folder)).not.toContain("refused");
    const vision = checkpointModel(await fixtures.open("vit"));
    const never = pruneFolderUnits(vision, out, plan, { runtime, loaders: ["llama.cpp"] });
    await expect(never).rejects.toThrow("expected a model_type that it has, got vit");
  });

  it("lie at the indices of the original that kept-indices.json names, and the card says how they came about", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    const out = join(folder, "sidecar");
    const plan = methods.structured({ sparsity: 0.3, roundTo: 1 });
    const recipe = "model: llama\nsteps:\n  - granularity: channel\n";
    await pruneFolderUnits(model, out, plan, { runtime, measure: false, recipe: () => recipe });
    const { checkpoint } = await loadCheckpoint(out);
    const differing = await differingFrom(model, out, checkpoint);
    // Gains of norms follow the width; everything else is what it was.
    expect(differing).toEqual([...checkpoint.tensors.keys()].filter((name) => name.includes("norm")));
    const cut = [...checkpoint.tensors].filter(([name, { shape }]) => {
      return shape.join() !== model.checkpoint.tensors.get(name)?.shape.join();
    });
    expect(cut.length).toBeGreaterThan(10);
    const card = readFileSync(join(out, "README.md"), "utf8");
    expect(card).toContain(`espalier run recipe.yaml\n${recipe}\`\`\`\n`);
    expect(card).toMatch(/base_model: llama\n/);
    expect(card).toMatch(/\| parameters \| \d+ of \d+ \|/);
    expect(card).toMatch(/sparsity: 0.3/);
    // Zeros that fill blocks up have no place in the original.
    const { plan: uneven } = await given(model, [22, 19]);
    const filled = join(folder, "filled");
    await pruneFolderUnits(model, filled, uneven, { runtime, measure: false, loaders: ["transformers"] });
    expect(await differingFrom(model, filled, (await loadCheckpoint(filled)).checkpoint)).toEqual([]);
    expect(JSON.stringify(keptAt(filled).lists)).toContain("-1");
    // Planted fault: indices of another pruning.
    writeFileSync(join(out, "kept-indices.json"), readFileSync(join(filled, "kept-indices.json")));
    expect((await differingFrom(model, out, checkpoint)).length).toBeGreaterThan(5);
  });
});

const keptShape = z.object({
  version: z.literal(1),
  of: z.string(),
  lists: z.array(z.array(z.number())),
  tensors: z.record(z.string(), z.array(z.number().nullable())),
});

function keptAt(path: string): z.infer<typeof keptShape> {
  return keptShape.parse(JSON.parse(readFileSync(join(path, "kept-indices.json"), "utf8")));
}

/** Tensors that are not the original's at the indices that kept-indices.json names, with zeros at −1. */
async function differingFrom(model: CheckpointModel, path: string, checkpoint: Checkpoint): Promise<readonly string[]> {
  const { lists, tensors } = keptAt(path);
  const found: string[] = [];
  for (const [name, ref] of checkpoint.tensors) {
    const original = model.checkpoint.tensors.get(name) ?? missing(name);
    const whole = toFloat32(await load(original));
    const axes = original.shape.map((size, axis) => {
      const list = tensors[name]?.[axis];
      return list == null ? Array.from({ length: size }, (_, i) => i) : (lists[list] ?? []);
    });
    const [rows = [], columns = [0]] = axes;
    const width = original.shape[1] ?? 1;
    const expected = rows.flatMap((i) => columns.map((j) => (i < 0 || j < 0 ? 0 : (whole[i * width + j] ?? 0))));
    if (String([...toFloat32(await load(ref))]) !== String(expected)) found.push(name);
  }
  return found;
}

/** A plan that keeps so many neurons in each block, and the matrices whose rows they are. */
async function given(model: CheckpointModel, counts: readonly number[]) {
  const { coupling } = await analyse(model.graph().graph, runtime);
  const ids = counts.map((_, block) => `model.layers.${block}.mlp.gate_proj.weight`);
  const masks = ids.map((id, block) => {
    const group = coupling.groups.find(({ members }) =>
      members.some(({ parameter, axis }) => parameter === id && axis === 0),
    );
    const mask = new Uint8Array(24).fill(1).fill(0, 2, 26 - (counts[block] ?? 0));
    return [group?.id ?? missing(id), mask] as const;
  });
  return { plan: { ...methods.structured({ sparsity: 0.5, roundTo: 1 }), given: new Map(masks) }, ids };
}

async function rowsOf(ref: TensorRef = missing("tensor")): Promise<readonly (readonly number[])[]> {
  const [rows = 0, columns = 0] = ref.shape;
  const values = [...toFloat32(await load(ref))];
  return Array.from({ length: rows }, (_, i) => values.slice(i * columns, (i + 1) * columns));
}

function missing(what: string): never {
  throw new Error(`no ${what}`);
}
