/**
 * The testbed tinylm, from texts to a checkpoint folder.
 * prepare FOLDER: learns the tokenizer and writes the texts, the untrained model and the recipe. Needs ESPALIER_DATA.
 * save FOLDER OUT: writes what was trained, or the best moment of a run that is not finished, as a checkpoint in bfloat16.
 * measure FOLDER OUT: perplexity and bits per byte of the checkpoint on the held-back text of each domain.
 * Usage: npx tsx bench/tinylm.ts prepare FOLDER && npx espalier train FOLDER/train.yaml && npx tsx bench/tinylm.ts save FOLDER OUT
 */
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { saveCheckpoint } from "../src/formats/checkpoint/save.node.ts";
import { modelOf } from "../src/formats/onnx/encode.ts";
import { openOnnx } from "../src/formats/onnx/external.node.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import { readSafetensors } from "../src/formats/safetensors/read.ts";
import { fileSource } from "../src/formats/source/file.node.ts";
import type { Graph } from "../src/graph/graph.ts";
import { load, openData, openRuntime } from "../src/index.node.ts";
import { likelihood } from "../src/stats/answers/likelihood.ts";
import { llama } from "../src/testbeds/models/llama.ts";
import { asCheckpoint } from "../src/testbeds/text/as-checkpoint.ts";
import { corpus } from "../src/testbeds/text/corpus.ts";
import { endOfText, tinylmConfig } from "../src/testbeds/text/tinylm.ts";
import { trainBytePairs } from "../src/tokenizers/byte-pairs.ts";
import { bestName } from "../src/train/held-out.ts";

const [command, folder, out] = process.argv.slice(2);
if (command === undefined || folder === undefined) throw new Error("tinylm.ts prepare|save|measure FOLDER [OUT]");

async function prepare(at: string): Promise<void> {
  const data = process.env["ESPALIER_DATA"];
  if (data === undefined) throw new Error("Set ESPALIER_DATA to the folder with text/.");
  const domains = await corpus((name) => readFile(join(data, name), "utf8"));
  await mkdir(at, { recursive: true });
  const train = domains.flatMap((domain) => domain.train);
  const options = { vocabulary: tinylmConfig.vocabulary, special: [endOfText] };
  await writeFile(join(at, "tokenizer.json"), trainBytePairs(train, options));
  await writeFile(join(at, "train.txt"), train.join(endOfText));
  await writeFile(join(at, "held.txt"), domains.flatMap((domain) => domain.held).join(endOfText));
  for (const { name, pool, test } of domains) {
    await writeFile(join(at, `${name}.pool.txt`), pool.join(endOfText));
    await writeFile(join(at, `${name}.test.txt`), test.join(endOfText));
  }
  await saveOnnx(modelOf(llama(tinylmConfig)), join(at, "untrained.onnx"));
  await copyFile(join(import.meta.dirname, "../examples/tinylm/train.yaml"), join(at, "train.yaml"));
}

/** The trained graph; of a run that is not finished, the untrained one with the parameters of its best moment so far. */
async function trained(at: string): Promise<Graph> {
  const path = join(at, "trained.onnx");
  if (existsSync(path)) return (await openOnnx(path)).graph;
  const { graph } = await openOnnx(join(at, "untrained.onnx"));
  const { tensors } = await readSafetensors(await fileSource(`${path}.snapshot`));
  const constants = new Map(graph.constants);
  for (const name of constants.keys()) {
    const ref = tensors.get(bestName(name)) ?? tensors.get(name);
    if (ref !== undefined) constants.set(name, ref);
  }
  return { ...graph, constants };
}

async function save(at: string, to: string): Promise<void> {
  const tokenizer = await readFile(join(at, "tokenizer.json"), "utf8");
  const special = { content: endOfText, lstrip: false, rstrip: false, normalized: false, single_word: false };
  const settings = {
    bos_token: special,
    eos_token: special,
    pad_token: special,
    clean_up_tokenization_spaces: false,
    model_max_length: tinylmConfig.time,
    tokenizer_class: "PreTrainedTokenizerFast",
  };
  const texts = new Map([
    ["tokenizer.json", tokenizer],
    ["tokenizer_config.json", `${JSON.stringify(settings, null, 2)}\n`],
  ]);
  await saveCheckpoint(await asCheckpoint("tinylm", await trained(at), tinylmConfig), to, { texts });
}

async function measure(at: string, from: string): Promise<void> {
  const model = await load(from);
  const runtime = await openRuntime({ threads: 1 });
  console.log("| text | bytes | tokens | perplexity | bits per byte |\n| --- | --- | --- | --- | --- |");
  for (const name of ["wikitext", "linux", "drama", "stories"]) {
    const path = join(at, `${name}.test.txt`);
    const text = { tokenizer: from, window: tinylmConfig.time };
    const data = await openData(path, { inputs: model.onnx.graph.inputs, text });
    const { nll, count } = await likelihood(runtime, model.onnx.graph, data, { batchSize: 8 });
    const bytes = (await readFile(path)).length;
    const bits = nll / Math.LN2 / bytes;
    console.log(`| ${name} | ${bytes} | ${count} | ${Math.exp(nll / count).toFixed(2)} | ${bits.toFixed(3)} |`);
  }
  await runtime.close();
}

if (command === "prepare") await prepare(folder);
else if (out === undefined) throw new Error(`tinylm.ts ${command} FOLDER OUT`);
else if (command === "save") await save(folder, out);
else await measure(folder, out);
