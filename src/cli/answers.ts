import {
  type Answers,
  answerQuestions,
  EspalierError,
  isFolder,
  jsonLines,
  load,
  loadCheckpoint,
  memorySource,
  readQuestions,
  tokenizerAt,
} from "../index.node.ts";
import type { Host } from "./host.ts";
import { given, withRuntime } from "./shared-options.ts";
import { table } from "./table.ts";

interface Reading {
  readonly tokenizer: string | undefined;
  readonly device: "cpu" | "wasm" | "webgpu" | "cuda" | undefined;
  readonly threads: number | undefined;
  readonly limit: number | undefined;
  readonly json: boolean;
}

/** How a model answers the questions of a file, as text or JSON. */
export async function answersTo(task: string, path: string, options: Reading, host: Host): Promise<string> {
  const text = await host.readText(task);
  if (text === null) throw new EspalierError("file", task, "expected questions, got no file.", "Check the path.");
  const all = await readQuestions(jsonLines(memorySource(task, new TextEncoder().encode(text))));
  const questions = all.slice(0, options.limit);
  const checkpoint = (await isFolder(path)) ? await loadCheckpoint(path) : null;
  const tokenizer = await tokenizerAt(options.tokenizer ?? path);
  const scoring = checkpoint === null ? (await load(path)).onnx.graph : checkpoint.graph().graph;
  const answers = await withRuntime(options, host, (runtime) =>
    answerQuestions(questions, {
      ...{ runtime, tokenizer, scoring, progress: host.progress, signal: host.signal },
      ...given({ writing: checkpoint?.graph("cached").graph, positions: checkpoint?.outline.positions }),
    }),
  );
  return options.json ? JSON.stringify({ model: path, task, ...answers }) : answersText(path, task, answers);
}

function answersText(model: string, task: string, answers: Answers): string {
  const rows = Object.entries(answers).flatMap(([name, score]) =>
    score === null ? [] : [[name, score.value.toFixed(4), score.stderr.toFixed(4), `${score.n}`]],
  );
  return [`${model} on ${task}`, table([["metric", "value", "stderr", "questions"], ...rows])].join("\n");
}
