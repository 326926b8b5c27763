import { readFileSync } from "node:fs";
import { architectures } from "../../src/models/architectures/registry.ts";
import { loaderNames, loaders } from "../../src/models/loaders/table.ts";
import { operators } from "../../src/ops/table.ts";
import { cataloguePage } from "../../src/papers/catalogue.ts";
import { papers } from "../../src/papers/registry.ts";
import { openFixtures } from "../checkpoints/fixtures.ts";
import { caseName, comparedWith, gradientWords } from "../gradients/describe.ts";
import { layers } from "./layer-list.ts";

const yes = (rule: unknown): string => (rule === null ? "" : "yes");

/** docs/ops.md: every operator with what espalier knows of it. */
export function operatorPage(): string {
  const rows = operators().map((entry) => {
    const { domain, op, spec } = entry;
    const roles = Object.keys(spec.roles ?? {}).join(", ");
    const gradient = gradientWords(spec.grad);
    const compared = comparedWith(caseName(entry)).join(", ");
    return `| ${op} | ${domain === "" ? "ai.onnx" : domain} | ${yes(spec.resize)} | ${yes(spec.macs)} | ${yes(spec.kernels)} | ${roles} | ${gradient} | ${compared} |`;
  });
  return `# Operators

Written by \`npm run docs\` from \`src/ops/table.ts\` and the cases of \`test/gradients\`; change those, not this page.

${rows.length} operators have an axis rule: how removing positions of one operand removes positions of the others. Any other
operator is carried as it is, runs as before, and what it touches stays whole: \`espalier inspect\` names it.

- **resize**: attributes or size lists of the node itself follow the cut.
- **MACs**: it is counted; the others cost little beside these, and papers do not count them.
- **matrix**: it holds a trained matrix, which criteria score and recovery refits.
- **roles**: operands that are a norm's scale, shift or statistics, and operators that only carry their input on.
- **gradient**: *rule*: it has one of its own; *by other operators*: it is written with those first; *flat*: its result is
  constant almost everywhere, so nothing flows back; *none*: a model that would need it is refused by its name, before
  anything trains.
- **compared with**: what its derivatives, first and second, were held against, and in how many forms. *Differences f64*:
  central differences in double precision, to 1e-6; *differences f32*: along random directions, to 1e-2, where the runtime
  has no doubles; *PyTorch*: its gradients in double precision, to 1e-5 of their norm in float32; *own outputs*:
  what it is written with gives what the runtime's own operator gives.

| operator | domain | resize | MACs | matrix | roles | gradient | compared with |
| --- | --- | --- | --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}

/** docs/checkpoints.md: what checkpoints are read, and what is held against what. */
export function checkpointPage(): string {
  const { cases } = openFixtures();
  const rows = architectures.map(({ types, kind }) => {
    const compared = cases.filter(({ config }) => types.includes(String(config["model_type"])));
    const names = compared.map(({ name }) => name).join(", ");
    return `| ${types.map((type) => `\`${type}\``).join(", ")} | ${kind} | ${names} |`;
  });
  return `# Checkpoints

Written by \`npm run docs\` from \`src/models/architectures/registry.ts\`, \`src/models/loaders\` and the fixtures of
\`test/checkpoints\`; change those, not this page.

A folder with \`config.json\` and \`.safetensors\` files is a model when its \`model_type\` is one of these. Weights may be
float32, float16, bfloat16 or float8; they stay in their files until they are needed. Any other model is exported to ONNX
and pruned as such.

Each is held against PyTorch in double precision, written for the test from papers and configs: hidden states and results of
tiny models with random weights differ by at most 1e-4 of the largest value; and against Transformers 5.17 itself, by models that
it wrote (at most 1e-5, \`test/checkpoints/transformers.test.ts\`). 30 % of every group of every one of them is cut by the law.

| \`model_type\` | kind | cases that are compared |
| --- | --- | --- |
${rows.join("\n")}

${whatIsWritten()}`;
}

/** The part of docs/checkpoints.md on what is written, and on what loads it. */
function whatIsWritten(): string {
  const rows = loaderNames.flatMap((name) => {
    const { title, version, reads, rules } = loaders[name];
    const lines = rules.map(
      ({ severity, expected, because }) => `| \`${name}\` | ${severity} | ${expected} | ${because} |`,
    );
    const what = reads === "checkpoint" ? "the folder" : "what `espalier export` makes of it";
    return [`| \`${name}\` | | | ${title} ${version} reads ${what}. |`, ...lines];
  });
  return `## What a pruned folder holds

Config, tensors and everything beside them have the names that they had. Besides there are

- \`README.md\`, a model card: the original in its header, the recipe, every setting with the value that it had in the end, and
  figures that this run measured. Wall time is not among them, so that a run that was stopped and resumed writes the same bytes.
- \`kept-indices.json\`, where units, blocks, experts or tokens went: what of the original \`of\` is left. \`names\` tells what a tensor
  is called there where it has another name now, since blocks and experts are numbered anew. \`tensors\` has an entry for each tensor
  that lost positions: for each axis the number of one of \`lists\`, or null where the axis is whole. The tensor is the original's
  at those positions, in that order, unless a recovery wrote it anew; gains of norms, and matrices in front of norms of their own, follow the width. −1 stands for a place filled
  with zeros. \`blocks\`, \`experts\` (by the number that their block has now) and \`entries\` (of a field such as \`vocab_size\`) say the same
  in the original's numbers of these. What was pruned several times still tells of the first original.

## Fewer blocks, layers and experts

Parts that are numbered go as a whole, by scores that are measured stage by stage: in memory are one stage, the next one while it
is read, and the hidden states of the calibration windows. \`--memory\`, \`--resume\`, \`--eval\`, \`--target\`, recipes and the model card
are as with single weights; nothing is repaired.

\`\`\`
espalier prune llama -o llama-shallow --granularity block --sparsity 0.25 --calib text.txt
espalier prune mixtral -o mixtral-half --granularity expert --sparsity 0.5 --calib text.txt
\`\`\`

| \`--granularity\` | what goes | \`--criterion\` |
| --- | --- | --- |
| \`block\` | whole blocks; those that are left are numbered anew | \`influence\` (how much a block turns what passes it, ShortGPT), \`error\` (the text's loss without it alone; a pass through the model for each block), \`last\`, \`random\` |
| \`layer\` | attentions and MLPs alone (not of \`gpt2\`, \`gpt_neox\`, \`opt\` and encoders, nor the MLP of a mixture) | \`influence\`, \`error\`, \`last\`, \`random\` |
| \`expert\` | experts, with their rows of the router; how many a token gets stays | \`reap\` (mean over the tokens sent to an expert of its weight and the norm of what it gives), \`frequency\` (tokens sent to it), \`magnitude\`, \`random\` |

No config of Transformers can say that a block has no attention. Espalier writes and reads \`per_layer_config\` with
\`"3": { "num_attention_heads": 0, "num_key_value_heads": 0 }\` or \`{ "intermediate_size": 0 }\`, and what \`espalier export\` makes of it runs on ONNX
Runtime and in Transformers.js. With a \`--target\` that wants all blocks alike, the last matrix of such a layer is zeros instead: it computes the same and
saves nothing, as the report says. Attentions and MLPs compete unless \`--scope group\` takes as many of both.

Of \`--sparsity\`, \`--keep-params\` and \`--max-bytes\` one says how many. As many experts go in each block, unless \`--scope global\` lets
those of all blocks compete; then a config says how many each block has, which most programs refuse. As many stay as a token
needs. Where a router ranks groups of experts, each group loses as many. Before anything is written every stage of the result is held
against the original's on random inputs, its router masked so that it never chooses what went.

From TypeScript, with a plan of \`methods.parts\`, \`pruneParts\` gives such a checkpoint and \`pruneFolderParts\` writes it. Parts can
also be chosen by their numbers; \`saveCheckpoint\` writes what is left of the original, too.

\`\`\`ts
const model = await loadCheckpoint("qwen3-moe");
await saveCheckpoint(keepBlocks(model, [0, 1, 2, 5]), "fewer-blocks");
await saveCheckpoint(keepExperts(model, new Map([[0, [3, 1]], [1, [0, 2]]])), "fewer-experts");
const { checkpoint } = await fitTokens(model, fromTexts(["All that this model is to read and say."]));
await saveCheckpoint(checkpoint, "fewer-tokens");
\`\`\`

## Fewer tokens

\`espalier prune FOLDER -o OUT --granularity vocabulary --calib corpus.txt\` keeps the tokens that a corpus uses (.txt, .jsonl or .parquet;
of dialogues the prompt and the whole). The whole corpus is encoded with both tokenizers before anything is written: each document is the
same tokens under new ids. What merges form on the way to a token stays, and so do special and added tokens, those that configs name, and
characters or bytes, so that any other text still has tokens and reads as before. \`--sparsity\`, \`--keep-params\` and \`--max-bytes\` go further:
the most frequent stay, and text of the others becomes more tokens. \`--round-to 64\` fills up with the unused ones that the vocabulary's
makers found first.

Rows of the embedding and of the head are those of the original, so that the logits of what stays are, bit for bit. Every file that
numbers tokens is written anew: tokenizer.json, tokenizer_config.json, generation_config.json, config.json, added_tokens.json, vocab.json,
merges.txt, vocab.txt, and SentencePiece's tokenizer.model where it says and forms the same tokens. A file that says them in another form
is left out, and the report names it. \`--eval\` tells bits per byte, since perplexities of different tokens do not compare. llama.cpp knows
byte-level tokenizers by the ids of one text and refuses smaller ones; SentencePiece's and WordPiece's it takes. In recipes the vocabulary
is the last step, and not beside units: data is windows of its tokens. Figures: [results/vocabulary.md](results/vocabulary.md).

## Recipes

\`espalier run recipe.yaml\` prunes a checkpoint as \`espalier prune FOLDER\` does with the same words as options: a command line is
turned into a recipe first, and both run that.

\`\`\`yaml
model: llama
out: llama-sparse
report: llama-sparse.html
windows: 128
memory: 3GB
target: [transformers, vllm]
calibration: { path: text.txt, window: 1024 }
evaluation: held-out.txt
steps:
  - { granularity: 2:4, ignore: ['*.mlp.*'] }
  - { criterion: sparsegpt, sparsity: 0.5, ignore: ['*.self_attn.*'] }
\`\`\`

\`model\` and \`out\` are folders; \`windows\`, \`inputs\`, \`memory\` and \`batch\` mean what they do as options of \`espalier prune\`,
\`calibration\`, \`general\`, \`training\` and \`evaluation\` are its \`--calib\`, \`--general\`, \`--train\` and \`--eval\`. \`report\` is a page with
plots (what is left by stage and by kind of matrix, perplexity before and after, seconds by phase, what loads it) or, as \`.json\`,
every figure. With \`--dry-run\` all is done and nothing written; \`--resume\` goes on with what a run that was stopped has left.

Each step prunes what the one before it has left, in whatever order: units and then a pattern in the rest, one pattern for
attentions and another for MLPs. The result has the bytes that these prunings have one by one; the report, the card and
\`kept-indices.json\` tell of the last checkpoint beside the first (\`npx vitest run src/stream/folders/prune-folder-steps\`). Between two
steps a checkpoint lies in the folder of work, so that the disk needs room for two.

The card's recipe is of this form, with the paths as they were given: saved as \`recipe.yaml\` where these lead (where the command was
typed, or where the recipe lay), it makes the same bytes on the same device with as many threads
(\`npx vitest run src/cli/cli.test.ts -t recipe\`). Only \`out\` is another name.

## Larger than memory

Single weights and patterns such as 2:4 are pruned block by block: a block is read, measured on all windows, pruned, written and noted in a
journal before the next. What it takes in time and memory is in [results/stream.md](results/stream.md).

\`--memory 3GB\` is a promise. Parameters, hidden states of the windows, statistics and gradients are counted before they are allocated, and
what the runtime works with is set aside. Where not all has room, hidden states go to disk, then the next block is not read ahead, then fewer
windows run at once; where the least has no room, the run is refused and says how much it needs. What the process has already is measured
when the run is planned. Sessions then give their memory back after each run, which costs some 5 % of the time, and freed arrays are collected
soon. Windows that run at once decide the last bits of sums: a run that is gone on with keeps them, whatever \`--memory\` it is given.

A run that was killed, or that found the disk full, is repeated with \`--resume\` and goes on behind the last finished block, to the same
bytes. Nothing appears under the name of the result before it is whole, and nothing of the input is written to
(\`test/stream\`: killed at twenty moments, a disk full after any byte).

## What loads it

\`espalier prune FOLDER -o OUT --target NAME\`, once for each program that has to load the result, chooses widths by what these
programs ask for: groups that lie in every block keep as many units as each other, in numbers that break no rule which the
original kept. What was chosen is looked at before anything is cut. Where it would be refused still (units given by number, or
widths chosen by error), blocks are filled up with zeros to the widest of them, which computes the same, and is checked to; where
that does not help, nothing is cut and the error tells the nearest sizes that are taken. Without \`--target\` nothing is asked for.
The report says what every program makes of the sizes either way (\`loads\` in \`--json\`): \`refused\` is not loaded, \`limited\`
loses something that other sizes have; whether the original has the same flaw stands beside it.

Blocks of different widths are written with \`per_layer_config\`, which espalier reads and the first three of these programs do not
build from. As ONNX they run everywhere: \`test/transformers-js\` has Transformers.js go on with a text with such a model.

Of an ONNX model, \`onnxruntime\` and \`transformers.js\` can be asked for: their runtimes, native and WebAssembly, compile it before
anything is cut, and refuse what they have no operators for. Widths are free there.

The rules were read from the sources and pages of these programs at the versions named. Those of Transformers and llama.cpp were then
held against what the programs do with 396 checkpoints of all types: whole, in bfloat16, with fewer blocks, experts, tokens, neurons,
heads and features, even and uneven. Transformers 5.17 loaded all 349 that are said to load, and computed what espalier computes within
8e-6 of the largest number; it refused all 47 that are said to be refused. llama.cpp (its conversion as of August 2026, in float32) took
118 and refused 33 as said, within 7e-4 since it looks functions up, of the types whose whole model it computes alike: Llama, Qwen 2
and 3, Phi 3, Gemma, OLMo 2, Mixtral, Qwen 3 MoE, GPT-2. What both did with each size is kept in \`test/fixtures/loads.json\`, which the suite
compares with what is said. stories260K, whole, with 80 % of its parameters, without a block, without two attentions
(zeros), in a 2:4 pattern, and with 450 and 308 of its 512 tokens, went on with a text by the same 60 tokens in Transformers as here, and
has the same perplexity there in six digits. vLLM was not run.

\`\`\`
npx tsx test/loaders/write-cases.ts FOLDER
python3 test/loaders/by_transformers.py FOLDER > transformers.json
python3 test/loaders/by_llama_cpp.py FOLDER CHECKOUT LOGITS > llama_cpp.json
\`\`\`

| \`--target\` | a breach is | expected | why |
| --- | --- | --- | --- |
${rows.join("\n")}
`;
}

/** The table of folders in docs/architecture.md. */
export function layerTable(): string {
  const rows = layers.map(
    ({ folders, holds }, i) => `| ${i} | ${folders.map((folder) => `\`src/${folder}\``).join(", ")} | ${holds} |`,
  );
  return ["| step | folders | what lives there |", "| --- | --- | --- |", ...rows].join("\n");
}

/** Replaces what stands between two markers of a page; throws when the page lost them. */
export function between(page: string, name: string, text: string): string {
  const [start, end] = [`<!-- ${name}: written by npm run docs -->`, `<!-- end of ${name} -->`];
  const [from, to] = [page.indexOf(start), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`expected the markers "${start}" and "${end}"`);
  return `${page.slice(0, from + start.length)}\n${text}\n${page.slice(to)}`;
}

/** Every generated page: its path and what it should say now. */
export function generatedPages(): ReadonlyMap<string, string> {
  const architecture = readFileSync("docs/architecture.md", "utf8");
  return new Map([
    ["docs/ops.md", operatorPage()],
    ["docs/checkpoints.md", checkpointPage()],
    ["docs/papers.md", cataloguePage(papers)],
    ["docs/architecture.md", between(architecture, "layers", layerTable())],
  ]);
}

/** The codes that src/tensor/error.ts declares, in its order. */
export function errorCodes(source: string): readonly string[] {
  const union = /export type ErrorCode =([^;]*);/.exec(source)?.[1] ?? "";
  return [...union.matchAll(/\| "([a-z-]+)"/g)].map(([, code = ""]) => code);
}

/** The headings of a page at one depth. */
export function headings(page: string, depth: number): readonly string[] {
  return [...page.matchAll(/^(#+) (.*)$/gm)].flatMap(([, marks = "", text = ""]) =>
    marks.length === depth ? [text.replaceAll("`", "")] : [],
  );
}

/** Relative links of a page, without their anchors. */
export function links(page: string): readonly string[] {
  return [...page.matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)].map(([, path = ""]) => path);
}
