import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { randomInputs } from "../data/random-inputs.ts";
import { take } from "../data/subset.ts";
import { fromTexts } from "../data/text/documents.ts";
import { tokenWindows } from "../data/text/token-windows.ts";
import { openCheckpointFolder } from "../formats/checkpoint/open.node.ts";
import { modelOf } from "../formats/onnx/encode.ts";
import { checkpointModel } from "../models/checkpoint/checkpoint-model.ts";
import { modelFrom } from "../models/model.ts";
import { tokenizerAt } from "../tokenizers/tokenizer-files.node.ts";
import type { Absent, Testbed } from "./testbed.ts";
import { corpus, type Domain } from "./text/corpus.ts";

/** A language model that lies in files, with texts that do not overlap. */
export interface LanguagePlace {
  /** Folder of its checkpoint. */
  readonly checkpoint: string;
  /** Folder with the texts that the corpus is made from. */
  readonly data: string;
  readonly domain: "wikitext" | "linux" | "drama" | "stories";
  /** Another kind of text, which stands for all that the model should not forget. */
  readonly general?: LanguagePlace["domain"];
  /** Parts of the domain that calibration inputs are drawn from; all but what is measured on, where the model learnt from none. */
  readonly pool: readonly ("train" | "held" | "pool")[];
  /** What the texts are, where that is not plain from the name. */
  readonly remark?: string;
  /** Tokens of a window. */
  readonly window: number;
  readonly hint: string;
}

/** Windows of text of one model and one domain; at most `samples` of them are measured on. */
export async function openLanguage(id: string, place: LanguagePlace, samples: number): Promise<Testbed | Absent> {
  const { checkpoint, data, domain, window, remark = "" } = place;
  const absent = { id, absent: `${id} needs files that are not here. ${place.hint}` };
  if (!existsSync(join(checkpoint, "config.json")) || !existsSync(join(data, "text"))) return absent;
  const domains = await corpus((name) => readFile(join(data, name), "utf8"));
  const texts = domains.find(({ name }) => name === domain);
  if (texts === undefined) throw new Error(`no texts of ${domain}`);
  const model = checkpointModel(await openCheckpointFolder(checkpoint));
  const { graph } = model.graph();
  const options = { tokenizer: await tokenizerAt(checkpoint), window, inputs: graph.inputs, perDocument: true };
  const windowsOf = async (own: Domain) => {
    const pool = await tokenWindows(fromTexts(place.pool.flatMap((part) => own[part])), { ...options, whole: true });
    const all = await tokenWindows(fromTexts(own.test), options);
    return { pool, all, test: take(all, samples) };
  };
  const { pool, all, test } = await windowsOf(texts);
  const others = domains.find(({ name }) => name === place.general);
  const general = others === undefined ? null : await windowsOf(others);
  const tokens = graph.inputs.map((input) => ({ ...input, dims: ["batch", window] }));
  return {
    id,
    description: `${model.name}, ${test.count} of ${all.count} windows of at most ${window} tokens of ${domain}${remark} to test, calibration from ${pool.count} full windows of other passages`,
    model: modelFrom(id, modelOf(graph)),
    pool,
    test,
    ...(general === null
      ? {}
      : { general: { ...general, description: `${general.test.count} windows of ${place.general} are general text` } }),
    noise: (count, seed) => randomInputs(tokens, { count, seed, below: model.outline.vocabulary }),
  };
}
