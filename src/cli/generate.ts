import {
  EspalierError,
  exportedModelIn,
  generate,
  isFolder,
  load,
  loadCheckpoint,
  tokenizerAt,
} from "../index.node.ts";
import { choice, command, flag, integer, list, number, string } from "./command.ts";
import { given, withRuntime } from "./shared-options.ts";

export const generateCommand = command({
  name: "generate",
  summary: "Let a language model go on with text, for a look at what it writes.",
  args: ["<model>"],
  options: {
    prompt: list("TEXT", "What the text begins with; several are gone on with together."),
    chat: flag("The prompts are what a user says: they are written as the model's chat template has it."),
    tokenizer: string("PATH", "A folder or tokenizer.json; the one of the model unless told."),
    maxTokens: integer("N", "Most tokens that come; 64 unless told.", 1, 1e6),
    temperature: number("T", "Divides logits before a token is drawn; 0, the most likely token, unless told.", 0, 100),
    topP: number("P", "Only the most likely tokens that have this probability together.", 0, 1),
    topK: integer("N", "Only so many of the most likely tokens.", 1, 1e6),
    seed: integer("N", "Decides what is drawn; 0 unless told.", 0, 2 ** 31 - 1),
    device: choice(["cpu", "wasm", "webgpu", "cuda"], "Where to run; cpu unless told."),
    threads: integer("N", "Runtime threads; all cores unless told.", 1, 1024),
    json: flag("Print the answer as JSON and nothing else on stdout."),
  },
  examples: [
    "espalier generate llama --prompt 'Once upon a time' --max-tokens 20",
    "espalier generate llama --prompt 'Once' --prompt 'There was' --temperature 0.8 --top-p 0.9 --max-tokens 20 --json",
  ],
  async run([path = ""], options, host) {
    const { prompt: prompts, temperature, topP, topK, seed, maxTokens } = options;
    if (prompts.length === 0) {
      throw new EspalierError(
        "request",
        "--prompt",
        "expected a text to go on with, got none.",
        'Give --prompt "Once".',
      );
    }
    const exported = await exportedModelIn(path);
    const checkpoint = exported === null && (await isFolder(path)) ? await loadCheckpoint(path) : null;
    const tokenizer = await tokenizerAt(options.tokenizer ?? path);
    const graph =
      checkpoint === null ? (await load(exported?.path ?? path)).onnx.graph : checkpoint.graph("cached").graph;
    if (options.chat && tokenizer.chat === null) {
      throw new EspalierError("request", "--chat", `expected a chat template in ${tokenizer.name}, got none.`);
    }
    const texts: string[] = [];
    for (const content of prompts) {
      texts.push(
        options.chat ? ((await tokenizer.chat?.([{ role: "user", content }], { answer: true })) ?? content) : content,
      );
    }
    const ids = texts.map((text) => tokenizer.encode(text, { special: !options.chat }));
    const { special } = tokenizer;
    const result = await withRuntime(options, host, (runtime) =>
      generate(runtime, graph, ids, {
        ...given({
          temperature,
          topP,
          topK,
          seed,
          maxTokens,
          positions: checkpoint?.outline.positions ?? exported?.positions,
        }),
        end: special.end,
        pad: special.pad ?? special.end[0] ?? 0,
        progress: host.progress,
        signal: host.signal,
      }),
    );
    const answers = result.texts.map(({ tokens, ended }, i) => {
      // A space before a word is only told where the word before it is there too.
      const before = ids[i] ?? new Int32Array(0);
      const whole = tokenizer.decode(Int32Array.of(...before, ...tokens));
      const text = whole.slice(tokenizer.decode(before).length);
      return { prompt: prompts[i] ?? "", text, tokens: tokens.length, ended };
    });
    const { tokensPerSecond, seconds } = result;
    if (options.json) host.print(JSON.stringify({ model: path, answers, tokensPerSecond, seconds }));
    else {
      for (const { prompt, text } of answers) host.print(options.chat ? text.trimStart() : `${prompt}${text}`);
      if (tokensPerSecond !== null) host.print(`${tokensPerSecond.toPrecision(3)} tokens a second after the first.`);
    }
  },
});
