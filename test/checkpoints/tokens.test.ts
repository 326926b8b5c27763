import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { memoryFolder } from "../../src/formats/checkpoint/folder.ts";
import { openCheckpointFolder } from "../../src/formats/checkpoint/open.node.ts";
import { type Checkpoint, openCheckpoint } from "../../src/formats/checkpoint/open.ts";
import { saveCheckpoint } from "../../src/formats/checkpoint/save.node.ts";
import { Message } from "../../src/formats/onnx/message.ts";
import { readSentencePieces } from "../../src/formats/sentencepiece/sentence-pieces.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { keepEntries } from "../../src/models/checkpoint/entries.ts";
import { generate } from "../../src/models/generation/generate.ts";
import { fitTokens } from "../../src/models/tokens/fit-tokens.ts";
import { tokenIdsIn, withTokenIds } from "../../src/models/tokens/ids-in-config.ts";
import { heldTokens, keepTokens } from "../../src/models/tokens/keep-tokens.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../src/tensor/numeric.ts";
import { load, refOf, type TensorRef } from "../../src/tensor/tensor.ts";
import { tokenizerAt } from "../../src/tokenizers/tokenizer-files.node.ts";
import { openFixtures } from "./fixtures.ts";
import { hasStories, storiesFolder } from "./stories.ts";

let runtime: Runtime;
let folder: string;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = await mkdtemp(join(tmpdir(), "espalier-tokens-"));
});
afterAll(async () => {
  await runtime.close();
  await rm(folder, { recursive: true, force: true });
});

const textsOf = (...texts: string[]) => ({
  async *read() {
    yield* texts;
  },
});

async function answersOf(checkpoint: Checkpoint, ids: readonly number[], name = "logits"): Promise<Float32Array> {
  const session = await runtime.compile(checkpointModel(checkpoint).graph().graph);
  const out = await session.run(new Map([["input_ids", fromInts("i64", [1, ids.length], ids)]]));
  await session.release();
  return toFloat32(out.get(name) ?? expect.fail());
}

const story = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park.";

describe.each([
  ["tinylm", "examples/tinylm", true, [story, "The king of England was a man of the north ."]],
  ["stories260K", storiesFolder, hasStories, [story, "One day, she saw a big, red ball in the sky."]],
])("%s with the tokens of a corpus", (name, path, there, corpus) => {
  it.skipIf(!there)("answers as it did, says the same text, and is read back from its folder", async () => {
    const model = checkpointModel(await openCheckpointFolder(path));
    const old = await tokenizerAt(path);
    // What it goes on to say belongs to the corpus: only then the most likely token stays the most likely.
    const begin = old.special.begin ?? expect.fail();
    const start = Int32Array.of(begin, ...old.encode(story.slice(0, 25)));
    const said = await greedy(model, start);
    const spoken = old.decode(said);
    const { checkpoint, fitted, left } = await fitTokens(model, textsOf(...corpus, spoken));
    const { kept } = fitted.chosen;
    expect(kept.length).toBeLessThan(0.75 * model.outline.vocabulary);
    expect(fitted).toMatchObject({ recut: 0, changed: 0, repaired: 0 });
    const out = join(folder, name);
    await saveCheckpoint(checkpoint, out);
    const small = checkpointModel(await openCheckpointFolder(out));
    const now = await tokenizerAt(out);
    expect(small.checkpoint.kept?.entries?.get("vocab_size")).toEqual(kept);
    expect(small.checkpoint.config["vocab_size"]).toBe(kept.length);
    expect(now.vocabularySize).toBe(kept.length);
    const ids = now.encode(story, { special: true });
    const before = old.encode(story, { special: true });
    expect([...ids].map((id) => kept[id])).toEqual([...before]);
    const [whole, less] = [await answersOf(model.checkpoint, [...before]), await answersOf(small.checkpoint, [...ids])];
    const rows = model.outline.vocabulary;
    const expected = Float32Array.from(
      less,
      (_, i) => whole[Math.floor(i / kept.length) * rows + (kept[i % kept.length] ?? 0)] ?? 0,
    );
    expect(maxDifference(expected, less)).toBe(0);
    const again = await greedy(
      small,
      Int32Array.of(now.special.begin ?? expect.fail(), ...now.encode(story.slice(0, 25))),
    );
    expect(now.decode(again)).toBe(spoken);
    expect([...left.keys()]).toEqual(name === "tinylm" ? [] : ["tokenizer.bin"]);
    for (const text of ["Ωmega\t🐈\r\n", "  x  y", "zebra qwerty {}"]) {
      expect(now.decode(now.encode(text))).toBe(old.decode(old.encode(text)));
    }
  });
});

async function greedy(model: CheckpointModel, start: Int32Array): Promise<Int32Array> {
  const { texts } = await generate(runtime, model.graph("cached").graph, [start], { maxTokens: 40 });
  return texts[0]?.tokens ?? expect.fail();
}

const maxDifference = (a: Float32Array, b: Float32Array): number => {
  expect(a.length).toBe(b.length);
  return a.reduce((most, x, i) => Math.max(most, Math.abs(x - (b[i] ?? Number.NaN))), 0);
};

const fixtures = openFixtures();
const special = ["<s>", "<pad>", "</s>", "<unk>"];
/** 24 tokens for tables of 28 rows: the last four have none. */
const tokens = [...special, ..."abcdefgh", "ab", "cd", "abcd", "ef", "gh", "efgh", "ac", "ad", "bc", "bd", "ce", "cf"];
const merges = ["a b", "c d", "ab cd", "e f", "g h", "ef gh", "a c", "a d", "b c", "b d", "c e", "c f"];

function tokenizerText(): string {
  return JSON.stringify({
    added_tokens: special.map((content, id) => ({ id, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: { type: "RobertaProcessing", sep: ["</s>", 2], cls: ["<s>", 0] },
    decoder: { type: "Fuse" },
    model: {
      ...{ type: "BPE", unk_token: "<unk>" },
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges,
    },
  });
}

/** SentencePiece's file of the same tokens, whose BPE joins by scores. */
function pieceModel(list: readonly string[] = tokens, scoreOf?: (token: string) => number): Uint8Array {
  const whole = new Message();
  for (const [id, token] of list.entries()) {
    whole.message(
      1,
      new Message()
        .string(1, token)
        .float(2, scoreOf?.(token) ?? -id)
        .int(3, id < 4 ? 3 : 1),
    );
  }
  const trainer = new Message().int(3, 2).int(4, list.length).int(40, 3).int(41, 0).int(42, 2).int(43, -1);
  whole.message(2, trainer).message(4, new Message().message(1, new Message().string(1, "ab").string(2, "ab")));
  return Uint8Array.from(Buffer.concat(whole.pieces().flatMap((one) => (one instanceof Uint8Array ? [one] : []))));
}

const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

async function withTokenizer(
  name: string,
  files: Readonly<Record<string, Uint8Array>> = {},
  changes: Readonly<Record<string, unknown>> = {},
  tensors: Readonly<Record<string, TensorRef>> = {},
): Promise<CheckpointModel> {
  const all = new Map([
    ...fixtures.files(name, changes),
    ["tokenizer.json", bytes(tokenizerText())],
    ...Object.entries(files),
  ]);
  const checkpoint = await openCheckpoint(memoryFolder(name, all));
  return checkpointModel({ ...checkpoint, tensors: new Map([...checkpoint.tensors, ...Object.entries(tensors)]) });
}

const readText = async (checkpoint: Checkpoint, file: string): Promise<string> => {
  const source = checkpoint.files.get(file) ?? expect.fail(file);
  return new TextDecoder().decode(await source.read(0, source.size));
};

describe("what numbers tokens in a folder", () => {
  // All of the corpus "abcd": special ones, single characters, and what it is made of.
  const left = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14];

  it("follows: settings, added tokens, lists of tokens and merges", async () => {
    const model = await withTokenizer(
      "llama",
      {
        "generation_config.json": bytes({
          ...{ eos_token_id: [2, 19], suppress_tokens: [20], max_new_tokens: 17 },
          ...{ bad_words_ids: [[17, 4]], forced_decoder_ids: [[1, 19]], sequence_bias: [[[20], -1.5]] },
        }),
        "tokenizer_config.json": bytes({ added_tokens_decoder: { "2": { content: "</s>" }, "0": { content: "<s>" } } }),
        "added_tokens.json": bytes({ "</s>": 2 }),
        "special_tokens_map.json": bytes({ eos_token: "</s>" }),
        "vocab.json": bytes(Object.fromEntries(tokens.map((token, id) => [token, id]))),
        "vocab.txt": bytes(`${tokens.join("\n")}\n`),
        "merges.txt": bytes(`#version: 0.2\n${merges.join("\n")}\n`),
        "tokenizer.model": pieceModel(),
        "tokenizer.bin": bytes("?"),
        "chat_template.jinja": bytes("{{ messages }}"),
      },
      { bos_token_id: 0, pad_token_id: -1, eos_token_id: 2, text_config: { image_token_index: 19 } },
    );
    const { checkpoint, fitted, left: out, beyond } = await fitTokens(model, textsOf("abcd"));
    // Those that configs name stay, whoever uses them.
    const kept = [...left, 17, 19, 20];
    expect(fitted.chosen.kept).toEqual(expect.arrayContaining(kept));
    const place = (id: number): number => fitted.chosen.kept.indexOf(id);
    expect(checkpoint.config).toMatchObject({
      ...{ vocab_size: fitted.chosen.kept.length, bos_token_id: 0, pad_token_id: -1 },
      text_config: { image_token_index: place(19) },
    });
    expect(JSON.parse(await readText(checkpoint, "generation_config.json"))).toEqual({
      ...{ eos_token_id: [2, place(19)], suppress_tokens: [place(20)], max_new_tokens: 17 },
      ...{
        bad_words_ids: [[place(17), 4]],
        forced_decoder_ids: [[1, place(19)]],
        sequence_bias: [[[place(20)], -1.5]],
      },
    });
    const own = fitted.chosen.kept.flatMap((id) => tokens[id] ?? []);
    expect(JSON.parse(await readText(checkpoint, "vocab.json"))).toEqual(
      Object.fromEntries(own.map((token, id) => [token, id])),
    );
    expect(await readText(checkpoint, "vocab.txt")).toBe(`${own.join("\n")}\n`);
    expect(await readText(checkpoint, "merges.txt")).toContain("#version: 0.2\na b\nc d\nab cd\n");
    expect(await readText(checkpoint, "merges.txt")).not.toContain("c e");
    const source = checkpoint.files.get("tokenizer.model") ?? expect.fail();
    const pieces = readSentencePieces("m", await source.read(0, source.size));
    expect(pieces.pieces.map(({ text }) => text)).toEqual(own);
    expect([...out.keys()]).toEqual(["tokenizer.bin"]);
    expect([...checkpoint.files.keys()]).not.toContain("tokenizer.bin");
    expect(beyond).toEqual([]);
  });

  it("is left out where it says other tokens, and said so", async () => {
    const model = await withTokenizer("llama", {
      "tokenizer.model": pieceModel([...tokens].reverse()),
      "spiece.model": bytes("no such thing"),
      "vocab.json": bytes({ a: 7 }),
      "merges.txt": bytes("a b\n"),
      "tekken.json": bytes("{}"),
    });
    const { left: out } = await fitTokens(model, textsOf("abcd"));
    expect(new Map(out)).toEqual(
      new Map([
        ["merges.txt", "It does not say the same tokens as tokenizer.json."],
        ["spiece.model", "It is no SentencePiece model."],
        ["tekken.json", "Files of this kind are not written."],
        ["tokenizer.model", "Its tokens have other ids than those of tokenizer.json."],
        ["vocab.json", "It does not say the same tokens as tokenizer.json."],
      ]),
    );
  });

  it("is left out where it would not form a token any more", async () => {
    // By scores "abc" begins with "bc", by the list of merges with "ab".
    const list = [...special, "a", "b", "c", "ab", "bc", "abc"];
    const json = JSON.parse(tokenizerText());
    json.model.vocab = Object.fromEntries(list.map((token, id) => [token, id]));
    json.model.merges = ["a b", "ab c", "b c"];
    const scores = new Map([
      ["bc", -1],
      ["abc", -2],
      ["ab", -3],
    ]);
    const pieces = (highest: string) =>
      pieceModel(list, (token) => (token === highest ? -0.5 : (scores.get(token) ?? -9)));
    const left = async (highest: string) => {
      const files = { "tokenizer.json": bytes(json), "tokenizer.model": pieces(highest) };
      return (await fitTokens(await withTokenizer("llama", files), textsOf("abc"))).left;
    };
    expect((await left("bc")).get("tokenizer.model")).toBe('It would not form "abc" any more.');
    expect((await left("ab")).size).toBe(0);
  });
});

describe("rows that belong to tokens", () => {
  it.each(["llama", "llama-tied-biased", "gpt2", "opt", "gemma2", "bert", "modernbert"])("%s", async (name) => {
    const model = await withTokenizer(name);
    const { checkpoint, fitted } = await fitTokens(model, textsOf("abcd ef"));
    const { kept } = fitted.chosen;
    // Rows without a token go, unless a multiple asks for them.
    expect(Math.max(...kept)).toBeLessThan(24);
    const ids = [4, 13, 14, 2].filter((id) => kept.includes(id));
    const answer = model.kind === "decoder" ? "logits" : "last_hidden_state";
    const whole = await answersOf(model.checkpoint, ids, answer);
    const small = await answersOf(
      checkpoint,
      ids.map((id) => kept.indexOf(id)),
      answer,
    );
    const width = whole.length / ids.length;
    const own = model.kind === "decoder" ? kept : Array.from({ length: width }, (_, i) => i);
    const expected = Float32Array.from(
      small,
      (_, i) => whole[Math.floor(i / own.length) * width + (own[i % own.length] ?? 0)] ?? 0,
    );
    expect(maxDifference(expected, small)).toBeLessThan(1e-6);
    const rounded = await fitTokens(model, textsOf("abcd ef"), { roundTo: 28 });
    expect(rounded.checkpoint.config["vocab_size"]).toBe(28);
  });

  it("roberta: the padding token keeps its number, since positions count from it", async () => {
    const head = {
      "lm_head.bias": refOf(
        float32Tensor(
          [28],
          Float32Array.from({ length: 28 }, (_, i) => i),
        ),
      ),
    };
    const model = await withTokenizer("roberta", {}, {}, head);
    expect([...(await heldTokens(model)).rows]).toEqual(expect.arrayContaining([0, 1]));
    const { checkpoint, fitted } = await fitTokens(model, textsOf("abcd"));
    expect(checkpoint.config["pad_token_id"]).toBe(1);
    const bias = toFloat32(await load(checkpoint.tensors.get("lm_head.bias") ?? expect.fail()));
    expect([...bias]).toEqual(fitted.chosen.kept);
    const turned = [1, 0, ...fitted.chosen.kept.slice(2)];
    await expect(keepTokens(model, turned)).rejects.toThrow("expected token 1 to keep its number, since pad_token_id");
  });

  it("of tensors that nothing reads are not guessed", async () => {
    const other = { "classifier.weight": refOf(float32Tensor([28, 2], new Float32Array(56))) };
    const model = await withTokenizer("bert", {}, {}, other);
    await expect(fitTokens(model, textsOf("abcd"))).rejects.toThrow(
      /classifier.weight: expected only tensors of the model/,
    );
  });
});

describe("tokens that cannot go", () => {
  it("are named", async () => {
    const model = await withTokenizer("llama", {}, { eos_token_id: 2, bos_token_id: 50256 });
    await expect(keepTokens(model, [0, 1, 3])).rejects.toThrow('expected to keep token 2 "</s>"');
    const all = [...Array.from({ length: 12 }, (_, id) => id), 14];
    await expect(keepTokens(model, all)).rejects.toThrow('expected to keep token 12 "ab"');
    const { beyond, checkpoint } = await keepTokens(model, [...all, 12, 13]);
    expect(beyond).toEqual(["bos_token_id = 50256"]);
    expect(checkpoint.config["bos_token_id"]).toBe(50256);
    expect(() => keepEntries(model, "vocab_size", [1, 2])).toThrow("Take them along with keepTokens.");
    await expect(fitTokens(model, textsOf("ab"), { count: 3 })).rejects.toThrow("expected at least 12 tokens, got 3");
  });

  it("without a tokenizer that can be read", async () => {
    const files = new Map([...fixtures.files("llama"), ["tokenizer.model", pieceModel()]]);
    const model = checkpointModel(await openCheckpoint(memoryFolder("llama", files)));
    await expect(fitTokens(model, textsOf("a"))).rejects.toThrow("a model of tokens with a tokenizer.json, got none");
    await expect(keepTokens(model, [1, 2])).rejects.toThrow(
      "llama/tokenizer.model: expected a tokenizer.json beside it",
    );
    expect(() => keepEntries(model, "vocab_size", [1, 2])).toThrow("got tokenizer.model");
    const { checkpoint } = await keepTokens(checkpointModel(await fixtures.open("llama")), [3, 1]);
    expect(checkpoint.config["vocab_size"]).toBe(2);
  });

  it("because the tokenizer has more of them than the embedding has rows", async () => {
    const model = await withTokenizer("llama", {
      "tokenizer.json": bytes(tokenizerText().replace('"cf":23', '"cf":28')),
    });
    await expect(keepTokens(model, [1, 2])).rejects.toThrow(
      "an embedding of at least 29 rows for its tokenizer, got 28",
    );
    await expect(fitTokens(model, textsOf("a"))).rejects.toThrow("an embedding of at least 29 rows");
  });
});

it("ids in configs are those of tokens, not other numbers", () => {
  const config = {
    eos_token_id: [1, 2],
    num_heads: 3,
    x: { forced_eos_token_id: 4, lang_to_id: { "<|en|>": 5 } },
    pad_token_id: null,
  };
  expect([...tokenIdsIn(config)]).toEqual([
    [1, "eos_token_id"],
    [2, "eos_token_id"],
    [4, "forced_eos_token_id"],
    [5, "lang_to_id"],
  ]);
  expect(withTokenIds(config, (id) => id + 10)).toEqual({
    ...{ eos_token_id: [11, 12], num_heads: 3, pad_token_id: null },
    x: { forced_eos_token_id: 14, lang_to_id: { "<|en|>": 15 } },
  });
});
