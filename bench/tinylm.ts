/**
 * The testbed tinylm, from texts to a checkpoint folder.
 * prepare FOLDER: learns the tokenizer and writes the texts, the untrained model and the recipe. Needs ESPALIER_DATA.
 * Usage: npx tsx bench/tinylm.ts prepare FOLDER && npx espalier train FOLDER/train.yaml
 */
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { modelOf } from "../src/formats/onnx/encode.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import { llama } from "../src/testbeds/models/llama.ts";
import { corpus } from "../src/testbeds/text/corpus.ts";
import { endOfText, tinylmConfig } from "../src/testbeds/text/tinylm.ts";
import { trainBytePairs } from "../src/tokenizers/byte-pairs.ts";

const [command, folder] = process.argv.slice(2);
if (command === undefined || folder === undefined) throw new Error("tinylm.ts prepare FOLDER");
const data = process.env["ESPALIER_DATA"];
if (data === undefined) throw new Error("Set ESPALIER_DATA to the folder with text/.");

const domains = await corpus((name) => readFile(join(data, name), "utf8"));
await mkdir(folder, { recursive: true });
if (command === "prepare") {
  const train = domains.flatMap((domain) => domain.train);
  const options = { vocabulary: tinylmConfig.vocabulary, special: [endOfText] };
  await writeFile(join(folder, "tokenizer.json"), trainBytePairs(train, options));
  await writeFile(join(folder, "train.txt"), train.join(endOfText));
  await writeFile(join(folder, "held.txt"), domains.flatMap((domain) => domain.held).join(endOfText));
  for (const { name, pool, test } of domains) {
    await writeFile(join(folder, `${name}.pool.txt`), pool.join(endOfText));
    await writeFile(join(folder, `${name}.test.txt`), test.join(endOfText));
  }
  await saveOnnx(modelOf(llama(tinylmConfig)), join(folder, "untrained.onnx"));
  await copyFile(join(import.meta.dirname, "../examples/tinylm/train.yaml"), join(folder, "train.yaml"));
}
