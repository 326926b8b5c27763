/**
 * Experts of a small mixture that was really trained, removed by each criterion: loss on held-back text.
 * prepare FOLDER: writes texts, tokenizer, the untrained model and the recipe. Needs ESPALIER_DATA.
 * measure FOLDER: nats above the whole model, without a quarter and a half of the experts of each block.
 * Usage: npx tsx bench/experts.ts prepare FOLDER && npx espalier train FOLDER/train.yaml && npx tsx bench/experts.ts measure FOLDER
 */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { modelOf } from "../src/formats/onnx/encode.ts";
import { openOnnx } from "../src/formats/onnx/external.node.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import {
  type Checkpoint,
  checkpointModel,
  methods,
  openData,
  openRuntime,
  pruneParts,
  withGraph,
} from "../src/index.node.ts";
import { phaseClock } from "../src/pipeline/measuring/phase-clock.ts";
import { checkpointLikelihood } from "../src/stream/evaluate-checkpoint.ts";
import { hiddenInMemory } from "../src/stream/memory/hidden-states.ts";
import { fromFloats } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import { refOf, type TensorRef } from "../src/tensor/tensor.ts";
import { corpus } from "../src/testbeds/text/corpus.ts";
import { endOfText } from "../src/testbeds/text/tinylm.ts";

const [command, folder] = process.argv.slice(2);
if (command === undefined || folder === undefined) throw new Error("experts.ts prepare|measure FOLDER");

const [vocabulary, width, layers, experts, inner, time] = [1024, 64, 4, 8, 64, 64];

/** A Mixtral that knows nothing. */
function untrained(): Checkpoint {
  const tensors = new Map<string, TensorRef>();
  const put = (name: string, shape: readonly number[]): void => {
    const draw = random(1, name);
    const count = shape.reduce((a, b) => a * b, 1);
    const sd = (shape.at(-1) ?? 1) ** -0.5;
    const values = Float32Array.from({ length: count }, () => (shape.length === 1 ? 1 : sd * draw.normal()));
    tensors.set(`${name}.weight`, refOf(fromFloats("f32", shape, values)));
  };
  put("model.embed_tokens", [vocabulary, width]);
  for (let i = 0; i < layers; i++) {
    const at = `model.layers.${i}`;
    for (const norm of ["input_layernorm", "post_attention_layernorm"]) put(`${at}.${norm}`, [width]);
    for (const part of ["q", "k", "v", "o"]) put(`${at}.self_attn.${part}_proj`, [width, width]);
    put(`${at}.block_sparse_moe.gate`, [experts, width]);
    for (let e = 0; e < experts; e++) {
      for (const part of ["w1", "w3"]) put(`${at}.block_sparse_moe.experts.${e}.${part}`, [inner, width]);
      put(`${at}.block_sparse_moe.experts.${e}.w2`, [width, inner]);
    }
  }
  put("model.norm", [width]);
  const config = {
    ...{ model_type: "mixtral", vocab_size: vocabulary, hidden_size: width, intermediate_size: inner },
    ...{ num_hidden_layers: layers, num_attention_heads: 4, num_key_value_heads: 4, max_position_embeddings: 256 },
    ...{ rms_norm_eps: 1e-5, num_local_experts: experts, num_experts_per_tok: 2, tie_word_embeddings: true },
  };
  const shardOf = new Map([...tensors.keys()].map((name) => [name, "model.safetensors"]));
  return { name: "mixture", config, tensors, shardOf, metadata: new Map(), files: new Map() };
}

async function prepare(at: string): Promise<void> {
  const data = process.env["ESPALIER_DATA"];
  if (data === undefined) throw new Error("Set ESPALIER_DATA to the folder with text/.");
  const domains = await corpus((name) => readFile(join(data, name), "utf8"));
  await mkdir(at, { recursive: true });
  await copyFile(join(import.meta.dirname, "../examples/tinylm/tokenizer.json"), join(at, "tokenizer.json"));
  const parts = {
    train: domains.flatMap((domain) => domain.train),
    pool: domains.flatMap((domain) => domain.pool),
    test: domains.flatMap((domain) => domain.test),
  };
  for (const [name, texts] of Object.entries(parts)) await writeFile(join(at, `${name}.txt`), texts.join(endOfText));
  await saveOnnx(modelOf(checkpointModel(untrained()).graph().graph), join(at, "untrained.onnx"));
  const recipe = `model: untrained.onnx
out: trained.onnx
seed: 1
threads: 1
objective: next-token
training: { path: train.txt, tokenizer: tokenizer.json, window: ${time} }
train: { updates: 800, batch: 16, rate: 0.003, decay: 0.1, clip: 1, warm-up: 0.03 }
`;
  await writeFile(join(at, "train.yaml"), recipe);
}

async function measure(at: string): Promise<void> {
  const start = checkpointModel(untrained());
  const model = checkpointModel(withGraph(start, (await openOnnx(join(at, "trained.onnx"))).graph));
  const runtime = await openRuntime({ threads: 1 });
  const inputs = model.stages.slice(0, 1).map(({ input }) => input);
  const windows = (name: string, limit: number) =>
    openData(join(at, `${name}.txt`), {
      ...{ inputs, limit, seed: 1 },
      text: { tokenizer: join(at, "tokenizer.json"), window: time, whole: true, vocabulary },
    });
  const [calibration, test] = [await windows("pool", 512), await windows("test", 512)];
  const loss = async (checkpoint: Checkpoint): Promise<number> => {
    const options = { runtime, batchSize: 32, hidden: hiddenInMemory() };
    const { nll, count } = await checkpointLikelihood(checkpointModel(checkpoint), test, options);
    return nll / count;
  };
  const whole = await loss(model.checkpoint);
  console.log(`${test.count} windows of ${time} tokens, whole: ${whole.toFixed(3)} nats\n`);
  console.log("| | 2 of 8 | 4 of 8 | 6 of 8 |\n| --- | ---: | ---: | ---: |");
  for (const criterion of ["random", "magnitude", "frequency", "reap"]) {
    const cells: string[] = [];
    for (const sparsity of [0.25, 0.5, 0.75]) {
      const found: number[] = [];
      for (const seed of criterion === "random" ? [1, 2, 3, 4, 5] : [1]) {
        const plan = methods.parts({ part: "expert", criterion, sparsity, seed });
        const { checkpoint } = await pruneParts(model, plan, {
          runtime,
          calibration,
          batchSize: 32,
          clock: phaseClock(),
        });
        found.push((await loss(checkpoint)) - whole);
      }
      const mean = found.reduce((a, b) => a + b, 0) / found.length;
      const range = found.length > 1 ? ` (${Math.min(...found).toFixed(3)} to ${Math.max(...found).toFixed(3)})` : "";
      cells.push(`${mean.toFixed(3)}${range}`);
    }
    console.log(`| ${criterion} | ${cells.join(" | ")} |`);
  }
  await runtime.close();
}

await (command === "prepare" ? prepare(folder) : measure(folder));
