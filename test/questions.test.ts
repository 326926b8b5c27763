import { afterAll, describe, expect, it } from "vitest";
import { jsonLines } from "../src/data/text/json-lines.ts";
import { type Question, readQuestions } from "../src/data/text/questions.ts";
import { memorySource } from "../src/formats/source/source.ts";
import { builder } from "../src/graph/builder.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { scoreContinuations } from "../src/stats/answers/continuations.ts";
import { answerQuestions } from "../src/studies/answer-questions.ts";
import { float32Tensor } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";
import type { Tokenizer } from "../src/tokenizers/tokenizer.ts";

const runtime = await openRuntime({ threads: 1, worker: false });
afterAll(() => runtime.close());

const letters = "^abcdefgh \n";

/** A token for each letter; "^" begins. Two letters "ab" are one token where they stand together. */
const tokenizer: Tokenizer = {
  name: "letters",
  vocabularySize: letters.length + 1,
  special: { begin: 0, end: [10], pad: null, unknown: null },
  encode: (text, { special = false } = {}) => {
    const ids = (text.match(/ab|[\s\S]/g) ?? []).map((piece) =>
      piece === "ab" ? letters.length : letters.indexOf(piece),
    );
    return Int32Array.from(special ? [0, ...ids] : ids);
  },
  decode: (ids) =>
    Array.from(ids, (id) => (id === letters.length ? "ab" : id === 0 ? "" : (letters[id] ?? ""))).join(""),
  token: (id) => letters[id] ?? null,
  chat: null,
};

const width = letters.length + 1;
const table = new Float32Array(width * width);
random(5, "table").fillNormal(table, 0, 2);

function graph() {
  const g = builder("letters");
  g.input("ids", "i64", ["batch", "time"]);
  g.output(g.op("Gather", [g.constant(float32Tensor([width, width], table), "table"), "ids"], {}, "logits"), "f32", [
    "batch",
    "time",
    width,
  ]);
  return g.finish();
}

const logShare = (before: number, token: number): number => {
  const row = [...table.slice(before * width, (before + 1) * width)];
  return (row[token] ?? 0) - Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
};

/** By hand: the sum over the tokens behind the context's. */
function byHand(context: string, continuation: string): { readonly sum: number; readonly tokens: number } {
  const start = tokenizer.encode(context.trimEnd(), { special: true }).length;
  const together = tokenizer.encode(context + continuation, { special: true });
  const apart = [...tokenizer.encode(context, { special: true }), ...tokenizer.encode(continuation)];
  const whole = together.length > start ? [...together] : apart;
  let sum = 0;
  for (let i = start; i < whole.length; i++) sum += logShare(whole[i - 1] ?? 0, whole[i] ?? 0);
  return { sum, tokens: whole.length - start };
}

describe("continuations", () => {
  it("are as likely as their tokens together, whatever runs beside them", async () => {
    const texts = [
      { context: "abc", continuation: " de" },
      { context: "abc ", continuation: "de" },
      { context: "", continuation: "h" },
      { context: "cccccccc", continuation: "ab" },
      { context: "d", continuation: "efgh abab" },
    ];
    for (const batchSize of [1, 2, 16]) {
      const found = await scoreContinuations(runtime, graph(), tokenizer, texts, { batchSize });
      for (const [i, { context, continuation }] of texts.entries()) {
        const { sum, tokens } = byHand(context, continuation);
        expect(found[i]?.tokens).toBe(tokens);
        expect(found[i]?.logLikelihood).toBeCloseTo(sum, 4);
      }
    }
    // A context whose end joins the continuation into one token is not what the two are apart.
    const [joined] = await scoreContinuations(runtime, graph(), tokenizer, [{ context: "ca", continuation: "bd" }]);
    expect(joined?.tokens).toBe(1);
    // The space before "de" counts with the continuation: without it the sum would be another.
    expect(Math.abs(byHand("abc", " de").sum - byHand("abc ", "de").sum)).toBeLessThan(1e-9);
    expect(Math.abs(byHand("abc", "de").sum - byHand("abc ", "de").sum)).toBeGreaterThan(0.01);
  });

  it("lose the beginning of what is too long, and must have a token", async () => {
    const long = [{ context: "abcdefgh".repeat(4), continuation: "d" }];
    const [cut] = await scoreContinuations(runtime, graph(), tokenizer, long, { positions: 6 });
    expect(cut?.logLikelihood).toBeCloseTo(byHand("h", "d").sum, 4);
    const empty = scoreContinuations(runtime, graph(), tokenizer, [{ context: "a", continuation: "" }]);
    await expect(empty).rejects.toThrow(/text 0: expected a continuation of 1 to Infinity tokens, got 0/);
  });
});

describe("questions", () => {
  const ask = async (questions: readonly Question[]) =>
    answerQuestions(questions, { runtime, tokenizer, scoring: graph(), maxTokens: 6 });

  it("are answered by the likeliest choice, and by the likeliest for its length", async () => {
    const pairs: [string, readonly string[]][] = [
      ["a", ["b", "cdefgh"]],
      ["h", ["gg", "e", "abab"]],
      ["cc", ["d d", "f"]],
      ["g", ["hab", "c"]],
    ];
    const best = (context: string, choices: readonly string[], normed: boolean): number => {
      const values = choices.map((choice) => byHand(context, choice).sum / (normed ? choice.length : 1));
      return values.indexOf(Math.max(...values));
    };
    const [plain, normed] = [false, true].map((by) => pairs.map(([context, choices]) => best(context, choices, by)));
    expect(plain).not.toEqual(normed);
    const gold = [0, 1, 0, 1];
    const questions = pairs.map(
      ([context, choices], i): Question => ({ kind: "choice", context, choices, gold: [gold[i] ?? 0] }),
    );
    const share = (found: readonly number[] | undefined) =>
      (found ?? []).filter((place, i) => place === gold[i]).length / gold.length;
    const answers = await ask(questions);
    expect(answers).toMatchObject({
      acc: { value: share(plain), n: 4 },
      acc_norm: { value: share(normed), n: 4 },
      exact_match: null,
    });
    const p = answers.acc?.value ?? 0;
    expect(answers.acc?.stderr).toBeCloseTo(Math.sqrt((p * (1 - p)) / 3), 9);
  });

  it("in the model's own words are right where they are a target, up to what ends them", async () => {
    const greedy = (text: string, n: number): string => {
      const ids = [...tokenizer.encode(text, { special: true })];
      const start = ids.length;
      for (let i = 0; i < n; i++) {
        const last = ids.at(-1) ?? 0;
        const row = [...table.slice(last * width, (last + 1) * width)];
        ids.push(row.indexOf(Math.max(...row)));
      }
      return tokenizer.decode(Int32Array.from(ids.slice(start)));
    };
    const answer = greedy("d", 6).split("\n")[0] ?? "";
    expect(answer.length).toBeGreaterThan(2);
    const end = answer[2] ?? "";
    const question = (target: string, until: string[]): Question => ({
      kind: "match",
      context: "d",
      targets: ["zz", target],
      until,
    });
    expect((await ask([question(answer, []), question(`${answer}x`, [])])).exact_match).toMatchObject({
      value: 0.5,
      n: 2,
    });
    expect((await ask([question(answer.slice(0, answer.indexOf(end)), [end])])).exact_match?.value).toBe(1);
  });

  const read = (text: string) => readQuestions(jsonLines(memorySource("q.jsonl", new TextEncoder().encode(text))));
  it("are read from lines of JSON", async () => {
    const lines = ['{"context":"a","choices":["b","c"],"gold":1}', '{"context":"a","target":"b","until":["\\n"]}'];
    expect(await read(lines.join("\n"))).toEqual([
      { kind: "choice", context: "a", choices: ["b", "c"], gold: [1] },
      { kind: "match", context: "a", targets: ["b"], until: ["\n"] },
    ]);
    await expect(read('{"context":"a","choices":["b"],"gold":0}')).rejects.toThrow(
      /record 0: expected at least two texts in "choices"/,
    );
    await expect(read('{"context":"a","choices":["b","c"],"gold":2}')).rejects.toThrow(
      /expected places below 2 in "gold", got 2/,
    );
    await expect(read('{"question":"a"}')).rejects.toThrow(/expected a text in "context", got fields question/);
    await expect(read('{"context":"a"}')).rejects.toThrow(
      /"choices" with "gold", or a text in "target", got fields context/,
    );
    await expect(read("")).rejects.toThrow(/expected questions, got none/);
  });
});
