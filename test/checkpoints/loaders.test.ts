import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { architectures } from "../../src/models/architectures/registry.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { resized } from "../../src/models/checkpoint/resize.ts";
import { modelTypes } from "../../src/models/loaders/model-types.ts";
import { type LoadSizes, loadSizes } from "../../src/models/loaders/sizes.ts";
import { loaderNamed, loaderNames, loaders, refuseCheckpointLoaders } from "../../src/models/loaders/table.ts";
import { type Finding, nearestText, refuseUnloadable, willLoad } from "../../src/models/loaders/will-load.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
const opened = async (name: string): Promise<CheckpointModel> => checkpointModel(await fixtures.open(name));
let llama: CheckpointModel;
beforeAll(async () => {
  llama = await opened("llama");
});

/** What a loader finds in sizes that a model had before. */
function found(name: (typeof loaderNames)[number], sizes: LoadSizes, original: LoadSizes): readonly Finding[] {
  return willLoad(sizes, original, [name]).flatMap(({ findings }) => findings);
}

/** The same as lines: what is wrong, and what would be right. */
function told(name: (typeof loaderNames)[number], sizes: LoadSizes, original: LoadSizes): readonly string[] {
  return found(name, sizes, original).map((one) => `${one.severity}: ${one.got}. ${nearestText(one)}`);
}

describe("sizes as loaders see them", () => {
  it("are the fields of a config and the rows of matrices", () => {
    const { type, fields, rows } = loadSizes(llama);
    expect(type).toBe("llama");
    expect(Object.fromEntries(fields)).toMatchObject({
      hidden_size: [16],
      intermediate_size: [24],
      num_attention_heads: [4],
      num_key_value_heads: [2],
    });
    expect(rows.map(({ name, values }) => [name, values])).toEqual([
      ["hidden_size", [16]],
      ["4 x num_attention_heads", [16]],
      ["intermediate_size", [24]],
    ]);
  });

  it("follow fields that change everywhere, and differ where blocks do", () => {
    const shapes = new Map([
      ["model.layers.1.mlp.gate_proj.weight", [20, 16]],
      ["model.layers.1.mlp.up_proj.weight", [20, 16]],
      ["model.layers.1.mlp.down_proj.weight", [16, 20]],
    ]);
    const uneven = loadSizes(llama, resized(llama, shapes));
    expect(uneven.fields.get("intermediate_size")).toEqual([24, 20]);
    expect(uneven.rows.find(({ name }) => name === "intermediate_size")?.values).toEqual([24, 20]);
    const even = uneven.at(new Map([["intermediate_size", 20]]));
    expect(even.fields.get("intermediate_size")).toEqual([20]);
    expect(even.rows.find(({ name }) => name === "intermediate_size")?.values).toEqual([20]);
  });
});

describe("the table of loaders", () => {
  it("knows every model_type that becomes a model, and no other", () => {
    expect([...modelTypes].sort()).toEqual(architectures.flatMap(({ types }) => types).sort());
  });

  it("has a reason for every rule", () => {
    for (const name of loaderNames) {
      for (const { because, expected } of loaders[name].rules) {
        expect(because).toMatch(/^[A-Z].*\.$/);
        expect(expected).toMatch(/^(a|as|heads|rows|the) /);
      }
    }
  });

  it("agrees with the Transformers.js that is installed on which types it has", () => {
    const source = readFileSync("node_modules/@huggingface/transformers/src/models/registry.js", "utf8");
    const original = loadSizes(llama);
    for (const type of modelTypes) {
      const refused = found("transformers.js", { ...original, type }, original).length > 0;
      expect(source.includes(`['${type}', `), type).toBe(!refused);
    }
  });

  it("reads names, and says what it knows where it does not", () => {
    expect(loaderNamed(" llama.cpp")).toBe("llama.cpp");
    expect(() => loaderNamed("llamacpp")).toThrow(/--target: expected one of transformers, .*Did you mean "llama.cpp"/);
    expect(() => refuseCheckpointLoaders(["onnxruntime", "vllm"], "m.onnx")).toThrow(
      "m.onnx: --target vllm: expected a folder of a checkpoint, which vLLM reads, got an ONNX model.",
    );
    refuseCheckpointLoaders(["onnxruntime", "transformers.js"], "m.onnx");
  });
});

describe("rules of loaders", () => {
  it("nothing is found in a model that keeps them all", async () => {
    const original = loadSizes(llama);
    for (const name of ["transformers", "onnxruntime", "transformers.js"] as const) {
      expect(willLoad(original, original, [name])).toMatchObject([{ loader: name, verdict: "loads", findings: [] }]);
    }
  });

  it("blocks that differ are refused by what builds them from one config, with uniform sizes that it takes", () => {
    const original = loadSizes(llama);
    const narrow = new Map([
      ["model.layers.0.mlp.gate_proj.weight", [21, 16]],
      ["model.layers.0.mlp.up_proj.weight", [21, 16]],
      ["model.layers.0.mlp.down_proj.weight", [16, 21]],
    ]);
    const uneven = loadSizes(llama, resized(llama, narrow));
    expect(told("transformers", uneven, original)).toEqual([
      "refused: intermediate_size of 21 and 24. The nearest that it takes: intermediate_size = 21 or 24",
    ]);
    for (const name of ["vllm", "llama.cpp"] as const) {
      expect(willLoad(uneven, original, [name])[0]?.verdict, name).toBe("refused");
    }
    for (const name of ["onnxruntime", "transformers.js"] as const) {
      expect(willLoad(uneven, original, [name])[0]?.verdict, name).toBe("loads");
    }
  });

  it("a width that does not divide by the heads is refused for the types whose config says so", async () => {
    const original = loadSizes(llama);
    const three = original.at(
      new Map([
        ["num_attention_heads", 3],
        ["num_key_value_heads", 3],
      ]),
    );
    expect(told("transformers", three, original)).toEqual([
      "refused: a width of 16 with 3 heads. The nearest that it takes: num_attention_heads = 2 or 4, or hidden_size = 15",
    ]);
    expect(told("vllm", three, original)).toContainEqual(expect.stringMatching(/^refused: a width of 16 with 3 heads/));
    // The conversion reads the file by itself, and other types state the size of a head.
    expect(told("llama.cpp", three, original).filter((line) => line.startsWith("refused"))).toEqual([]);
    const qwen = loadSizes(await opened("qwen3"));
    const changed = qwen.at(
      new Map([
        ["num_attention_heads", 3],
        ["num_key_value_heads", 3],
      ]),
    );
    expect(found("transformers", changed, qwen)).toEqual([]);
  });

  it("query heads are shared evenly by the heads of keys and values", () => {
    const original = loadSizes(llama);
    const odd = original.at(new Map([["num_key_value_heads", 3]]));
    expect(told("llama.cpp", odd, original)[0]).toBe(
      "refused: 4 for 3. The nearest that it takes: num_attention_heads = 3, or num_key_value_heads = 2",
    );
  });

  it("types that a loader does not have are refused whatever their sizes", async () => {
    const opt = loadSizes(await opened("opt"));
    expect(found("llama.cpp", opt, opt)[0]).toMatchObject({
      severity: "refused",
      got: "opt",
      nearest: {},
      original: true,
    });
    expect(() => refuseUnloadable(willLoad(opt, opt, ["llama.cpp"]), "opt")).toThrow(
      "opt: --target llama.cpp: expected a model_type that it has, got opt. The conversion to GGUF knows no such architecture. Name another --target, or leave it out.",
    );
    const mixtral = loadSizes(await opened("mixtral"));
    expect(willLoad(mixtral, mixtral, ["transformers.js"])[0]?.verdict).toBe("refused");
  });

  it("rows in other multiples, and fewer devices to split over, limit what others can do with it", () => {
    const narrow = loadSizes(llama);
    const eight = { ...narrow, features: new Map([["num_attention_heads", 8]]) };
    expect(willLoad(eight, eight, ["vllm"])[0]?.findings.filter(({ got }) => got.endsWith("features"))).toEqual([]);
    const wide = narrow.at(
      new Map([
        ["hidden_size", 512],
        ["intermediate_size", 1024],
        ["num_attention_heads", 128],
        ["num_key_value_heads", 8],
      ]),
    );
    expect(willLoad(wide, wide, ["llama.cpp"])[0]?.verdict).toBe("loads");
    expect(found("vllm", wide, wide).map(({ got }) => got)).toEqual(["4 features"]);
    const cut = wide.at(new Map([["intermediate_size", 900]]));
    expect(told("llama.cpp", cut, wide)).toEqual([
      "limited: intermediate_size = 900. The nearest that it takes: intermediate_size = 768 or 1024",
      "limited: intermediate_size = 900. The nearest that it takes: intermediate_size = 768 or 1024",
    ]);
    expect(told("vllm", cut, wide).filter((line) => !line.includes("4 features"))).toEqual([
      "limited: intermediate_size = 900. The nearest that it takes: intermediate_size = 896 or 1024",
      "limited: intermediate_size = 900. The nearest that it takes: intermediate_size = 896 or 1024",
      "limited: intermediate_size = 900. The nearest that it takes: intermediate_size = 896 or 1024",
    ]);
    const heads = wide.at(
      new Map([
        ["num_attention_heads", 96],
        ["num_key_value_heads", 6],
      ]),
    );
    const limits = found("vllm", heads, wide).map(({ expected }) => expected);
    expect(limits).toContain("heads and inner widths that divide by 4");
    expect(limits).not.toContain("heads and inner widths that divide by 2");
    // Two heads of keys and values are enough for four devices, which hold each of them twice.
    const two = wide.at(new Map([["num_key_value_heads", 2]]));
    expect(found("vllm", two, wide).filter(({ original }) => !original)).toEqual([]);
  });

  it("heads that kernels are not built for are told, which no size of ours changes", async () => {
    const small = loadSizes(llama);
    expect(small.features.get("num_attention_heads")).toBe(4);
    expect(found("vllm", small, small)).toContainEqual(
      expect.objectContaining({ severity: "limited", got: "4 features", nearest: {}, original: true }),
    );
    const latent = loadSizes(await opened("deepseek_v3"));
    expect(found("vllm", latent, latent).filter(({ got }) => got.endsWith("features"))).toEqual([]);
  });

  it("what the original does not keep either is marked, and does not make sizes unreachable", () => {
    const original = loadSizes(llama);
    const cut = original.at(new Map([["intermediate_size", 20]]));
    const findings = found("llama.cpp", cut, original);
    expect(findings.every(({ severity }) => severity === "limited")).toBe(true);
    expect(findings.every((one) => one.original)).toBe(true);
  });

  it("catches a planted fault: a rule that is not kept is not passed over", () => {
    const original = loadSizes(llama);
    expect(willLoad(original.at(new Map([["hidden_size", 15]])), original, ["transformers"])[0]?.verdict).toBe(
      "refused",
    );
  });
});
