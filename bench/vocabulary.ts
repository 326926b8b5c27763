/**
 * Tokens that texts use, and what it takes to find them and to make the smaller checkpoint:
 * `npx tsx bench/vocabulary.ts MODEL TEXT... [count=N]`. MODEL is the folder of a checkpoint, or a tokenizer.json, around which
 * a Llama of random weights (width 64, two blocks, tied) is put. Every document is verified to be the same tokens, or with a
 * count of tokens to read the same. Prints a row of a table.
 */

import { rm } from "node:fs/promises";
import { basename, dirname } from "node:path";
import { openFile } from "../src/data/files/file.node.ts";
import { openDocuments } from "../src/data/text/open-text.node.ts";
import { openCheckpointFolder } from "../src/formats/checkpoint/open.node.ts";
import type { Checkpoint } from "../src/formats/checkpoint/open.ts";
import { saveCheckpoint } from "../src/formats/checkpoint/save.node.ts";
import { checkpointModel } from "../src/models/checkpoint/checkpoint-model.ts";
import { fitTokens } from "../src/models/tokens/fit-tokens.ts";
import { sizesOf } from "../src/stream/report.ts";
import { llamaCheckpoint } from "../src/testbeds/models/llama-checkpoint.ts";
import { tokenizerAt } from "../src/tokenizers/tokenizer-files.node.ts";

const [path = "examples/tinylm", ...rest] = process.argv.slice(2);
const texts = rest.filter((word) => !word.startsWith("count="));
const asked = rest.find((word) => word.startsWith("count="))?.slice(6);

async function checkpointAt(from: string): Promise<Checkpoint> {
  if (!from.endsWith(".json")) return openCheckpointFolder(from);
  const { vocabularySize: vocabulary } = await tokenizerAt(from);
  const sizes = { vocabulary, width: 64, layers: 2, heads: 4, kvHeads: 2, inner: 128, tied: true };
  const made = llamaCheckpoint(sizes);
  return { ...made, name: basename(from, ".json"), files: new Map([["tokenizer.json", await openFile(from)]]) };
}

const seconds = (since: number): string => ((performance.now() - since) / 1000).toFixed(1);
const model = checkpointModel(await checkpointAt(path));
const corpus = await openDocuments(texts, { text: {} });
const start = performance.now();
const { checkpoint, fitted } = await fitTokens(model, corpus, asked === undefined ? {} : { count: Number(asked) });
const found = seconds(start);
const out = `${dirname(process.argv[1] ?? ".")}/.vocabulary.tmp`;
const writing = performance.now();
await saveCheckpoint(checkpoint, out);
const wrote = seconds(writing);
await rm(out, { recursive: true });
const { chosen, before, after, recut, changed } = fitted;
const share = chosen.kept.reduce((sum, id) => sum + (before.counts[id] ?? 0), 0) / before.tokens;
const rows = model.outline.vocabulary;
const bytes = 1 - sizesOf({ checkpoint }).bytes / sizesOf(model).bytes;
console.log(
  `| ${model.name} | ${texts.map((text) => text.split("/").slice(-2).join("/")).join(", ")} | ${rows} | ${chosen.used} | ${chosen.kept.length} | ${(100 * bytes).toFixed(1)} % | ${before.tokens} | ${after.tokens} | ${(100 * share).toFixed(2)} % | ${recut}, ${changed} | ${found} + ${wrote} |`,
);
