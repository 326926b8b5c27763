import { describe, expect, it } from "vitest";
import { memoryFolder } from "../../src/formats/checkpoint/folder.ts";
import { openCheckpoint } from "../../src/formats/checkpoint/open.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { EspalierError } from "../../src/tensor/error.ts";
import { fromInts } from "../../src/tensor/numeric.ts";
import { refOf } from "../../src/tensor/tensor.ts";
import { openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();

describe("a config that contradicts its tensors, or no model at all", () => {
  const refusal = async (name: string, changes: Readonly<Record<string, unknown>>): Promise<string> => {
    const checkpoint = await fixtures.open(name, changes);
    try {
      checkpointModel(checkpoint);
    } catch (error) {
      expect(error).toBeInstanceOf(EspalierError);
      return error instanceof EspalierError ? error.message : "";
    }
    return "none";
  };

  it.each<[string, Readonly<Record<string, unknown>>, string]>([
    ["llama", { model_type: "mamba" }, "model_type: expected one of llama, mistral, qwen2"],
    ["llama", { model_type: "mamba" }, "Export it to ONNX"],
    [
      "llama",
      { intermediate_size: 25 },
      "model.layers.0.mlp.gate_proj.weight: expected [intermediate_size = 25, hidden_size = 16] as the config says, got [24, 16].",
    ],
    [
      "llama",
      { num_attention_heads: 8, head_dim: 4 },
      "q_proj.weight: expected [4 x num_attention_heads = 32, hidden_size = 16]",
    ],
    [
      "llama",
      { num_hidden_layers: 3 },
      'model.layers.2.input_layernorm.weight: expected a tensor of this name, got none. Did you mean "model.layers.0.input_layernorm.weight"?',
    ],
    ["llama", { vocab_size: "28" }, "config.json: vocab_size: expected what its model_type has there"],
    ["llama", { hidden_size: 2 ** 40 }, "config.json: hidden_size"],
    ["llama", { num_hidden_layers: 1e9 }, "config.json: num_hidden_layers"],
    ["llama", { attention_bias: true }, "q_proj.bias: expected a tensor of this name, got none."],
    ["llama", { rope_scaling: { rope_type: "spiral" } }, "rope_scaling: expected one of default, linear"],
    ["llama", { rope_scaling: { rope_type: "llama3" } }, "config.json: rope_scaling.factor"],
    ["llama", { hidden_act: "sine" }, "activation: expected one of silu"],
    [
      "phi3-long",
      { rope_scaling: { rope_type: "longrope", short_factor: [1], long_factor: [1, 2] } },
      "expected 2 factors, one for each pair, got 1",
    ],
    ["qwen3_moe", { num_experts_per_tok: 7 }, "expected 7 experts to choose from for each token, got 6."],
    ["qwen3_moe", { num_experts: 5 }, "gate.weight: expected [num_experts = 5, hidden_size = 16]"],
    ["deepseek_v3", { n_group: 3 }, "in 2 of 3 groups"],
    ["olmoe", { clip_qkv: 8 }, "config.json: clip_qkv"],
  ])("%s with %o", async (name, changes, message) => {
    expect(await refusal(name, changes)).toContain(message);
  });

  it("heads that do not divide", async () => {
    const files = new Map(fixtures.files("phi3", { num_attention_heads: 5, num_key_value_heads: 2, head_dim: 4 }));
    await expect(openCheckpoint(memoryFolder("odd", files)).then(checkpointModel)).rejects.toThrow(EspalierError);
  });

  it("tensors of whole numbers are said to be quantised", async () => {
    const checkpoint = await fixtures.open("llama");
    const whole = refOf(fromInts("i32", [24, 16], Array(384).fill(0)));
    const tensors = new Map([...checkpoint.tensors, ["model.layers.0.mlp.up_proj.weight", whole] as const]);
    expect(() => checkpointModel({ ...checkpoint, tensors })).toThrow("got i32. Quantised checkpoints are not read");
  });

  it("whatever a field says, the answer is a model or an error of our own, at once", async () => {
    const odd = [null, 0, 1.5, 7, 2 ** 24, "x", []];
    let models = 0;
    let refused = 0;
    let tried = 0;
    const own = fixtures.cases.filter(({ name, checkpoint }) => name === checkpoint);
    for (const { name, config } of own) {
      const checkpoint = await fixtures.open(name);
      for (const field of Object.keys(config)) {
        if (field === "model_type") continue;
        for (const value of odd) {
          // A quarter of them is enough, and takes a quarter of the time.
          if (tried++ % 4 > 0) continue;
          try {
            checkpointModel({ ...checkpoint, config: { ...checkpoint.config, [field]: value } });
            models++;
          } catch (error) {
            expect(error, `${name} ${field} ${JSON.stringify(value)}`).toBeInstanceOf(EspalierError);
            refused++;
          }
        }
      }
    }
    expect(models).toBeGreaterThan(50);
    expect(refused).toBeGreaterThan(200);
  });
});
