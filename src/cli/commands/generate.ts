import {
  EspalierError,
  exportedModelIn,
  generate,
  isFolder,
  load,
  loadCheckpoint,
  type Tokenizer,
  tokenizerAt,
} from "../../index.node.ts";
import { choice, command, flag, integer, list, number, string } from "../command.ts";
import { readSaved, type SavedText, type SavedTexts, saidText, textsFrom } from "../saved-texts.ts";
import { given, withRuntime } from "../shared-options.ts";

export const generateCommand = command({
  name: "generate",
  summary: "Let a language model go on with text, for a look at what it writes.",
  args: ["<model>"],
  options: {
    prompt: list("TEXT", "What the text begins with; several are gone on with together."),
    prompts: string(
      "FILE",
      "A .jsonl file of prompts or messages, each with its stop, max-tokens or seed if it has one.",
    ),
    stop: list("TEXT", "Ends a text before this comes in it."),
    save: string("FILE", "Write the texts as JSON, with which --resume goes on later."),
    resume: string("FILE", "Go on with texts of an earlier run: those that ended have their end, all others get more."),
    chat: flag("The prompts are what a user says: they are written as the model's chat template has it."),
    tokenizer: string("PATH", "A folder or tokenizer.json; the one of the model unless told."),
    maxTokens: integer("N", "Most tokens that come to a text in this run; 64 unless told.", 1, 1e6),
    temperature: number("T", "Divides logits before a token is drawn; 0, the most likely token, unless told.", 0, 100),
    topP: number("P", "Only the most likely tokens that have this probability together.", 0, 1),
    topK: integer("N", "Only so many of the most likely tokens.", 1, 1e6),
    seed: integer(
      "N",
      "Decides what is drawn for the first text, the next number for the next; 0 unless told.",
      0,
      2 ** 31 - 1,
    ),
    device: choice(["cpu", "wasm", "webgpu", "cuda"], "Where to run; cpu unless told."),
    threads: integer("N", "Runtime threads; all cores unless told.", 1, 1024),
    json: flag("Print the answer as JSON and nothing else on stdout."),
  },
  examples: [
    "espalier generate llama --prompt 'Once upon a time' --max-tokens 20",
    "espalier generate llama --prompt 'Once' --prompt 'There was' --temperature 0.8 --top-p 0.9 --max-tokens 20 --json",
    "espalier generate llama --prompt 'Once upon' --stop ' time' --max-tokens 8 --save once.json",
  ],
  async run([path = ""], options, host) {
    const { prompt: prompts, temperature, topP, topK, seed = 0, maxTokens } = options;
    const told = prompts.length > 0 || options.prompts !== undefined;
    if (told === (options.resume !== undefined)) {
      const message = `expected texts to go on with, or those of an earlier run, got ${told ? "both" : "none"}.`;
      throw new EspalierError("request", "--prompt", message, 'Give --prompt "Once", or --resume FILE.');
    }
    if (options.save !== undefined)
      await host.checkOutput(options.save, options.prompts === undefined ? [] : [options.prompts]);
    const exported = await exportedModelIn(path);
    const checkpoint = exported === null && (await isFolder(path)) ? await loadCheckpoint(path) : null;
    const tokenizer = await tokenizerAt(options.tokenizer ?? path);
    const graph =
      checkpoint === null ? (await load(exported?.path ?? path)).onnx.graph : checkpoint.graph("cached").graph;
    const earlier = options.resume === undefined ? null : await readSaved(options.resume, host);
    const beginning = { tokenizer, chat: options.chat, stop: options.stop, seed };
    const texts = earlier?.texts ?? (await textsFrom(prompts, options.prompts, beginning, host));
    const before = earlier?.drawing;
    const drawing = given({
      temperature: temperature ?? before?.temperature,
      topP: topP ?? before?.topP,
      topK: topK ?? before?.topK,
    });
    const open = texts.filter(({ ended }) => ended === null || ended === "length");
    const { special } = tokenizer;
    const result =
      open.length === 0
        ? null
        : await withRuntime(options, host, (runtime) =>
            generate(
              runtime,
              graph,
              open.map((text) => promptOf(text, tokenizer)),
              {
                ...drawing,
                ...given({ maxTokens, positions: checkpoint?.outline.positions ?? exported?.positions }),
                end: special.end,
                pad: special.pad ?? special.end[0] ?? 0,
                progress: host.progress,
                signal: host.signal,
              },
            ),
          );
    const came = new Map(open.map((text, i) => [text, result?.texts[i]]));
    const after = texts.map((text): SavedText => {
      const found = came.get(text);
      return found === undefined ? text : { ...text, said: [...found.tokens], ended: found.ended };
    });
    if (options.save !== undefined) {
      const saved: SavedTexts = { model: path, drawing, texts: after };
      await host.writeText(options.save, `${JSON.stringify(saved)}\n`);
    }
    const answers = after.map((text, i) => {
      const { prompt, said, ended } = text;
      return { prompt: prompts[i] ?? prompt, text: saidText(text, tokenizer), tokens: said.length, ended };
    });
    const { tokensPerSecond = null, seconds = null } = result ?? {};
    if (options.json) host.print(JSON.stringify({ model: path, answers, tokensPerSecond, seconds }));
    else {
      for (const [i, { text }] of answers.entries()) {
        const begun = after[i]?.prompt ?? "";
        host.print(begun === "" ? text.trimStart() : `${begun}${text}`);
      }
      if (tokensPerSecond !== null) host.print(`${tokensPerSecond.toPrecision(3)} tokens a second after the first.`);
    }
  },
});

/** A text as it is gone on with. */
function promptOf({ ids, said, stop, maxTokens, seed }: SavedText, tokenizer: Tokenizer) {
  const ends = (tokens: Int32Array): boolean => {
    const text = saidText({ ids, said: [...tokens], stop: [] }, tokenizer);
    return stop.some((end) => text.includes(end));
  };
  return {
    ...{ tokens: Int32Array.from(ids), said: Int32Array.from(said), seed },
    ...given({ maxTokens }),
    ...(stop.length === 0 ? {} : { stop: ends }),
  };
}
