import {
  type DataOptions,
  EspalierError,
  type IndexedDataset,
  type Learning,
  type Model,
  openData,
  openRuntime,
  optimiserNames,
  type Runtime,
} from "../index.node.ts";
import { assignments, choice, flag, integer, list, number, numbers, shapes, string } from "./command.ts";
import type { Host } from "./host.ts";

/** Options that every command with a model has. */
export const modelOptions = {
  shape: shapes("Sizes that the file leaves open, for example input=1x3x224x224."),
  fix: assignments("Makes an input a constant, such as training=false, which can decide an If."),
  device: choice(["cpu", "wasm", "webgpu", "cuda"], "Where to run; cpu unless told."),
  threads: integer("N", "Runtime threads; all cores unless told.", 1, 1024),
  json: flag("Print the answer as JSON and nothing else on stdout."),
};

/** How data is read, for every command with data. */
export const dataOptions = {
  scale: number("X", "What each element is multiplied by, such as 0.00392157; 1/255 for images.", 0, 1e9),
  mean: numbers("Subtracted from each channel after scaling: one number or a list with commas."),
  std: numbers("Divided by after that, likewise."),
  size: integer("PIXELS", "Side of the images fed; pictures are scaled and cut to it.", 1, 65536),
  layout: choice(["nchw", "nhwc"], "How arrays of images are stored; learnt from the model unless told."),
  labels: string("FILE", "Classes of the evaluation data: .npy, idx, or a text file with one number on each line."),
  tokenizer: string("PATH", "Tokenizer for text: a folder or tokenizer.json; the one beside the model unless told."),
  window: integer("N", "Tokens of a window of text; what the model's graph fixes unless told.", 2, 1e7),
  stride: integer(
    "N",
    "Tokens from the start of a window to that of the next; so that none overlap unless told.",
    1,
    1e7,
  ),
  begin: choice(
    ["window", "document", "none"],
    "What begins with the tokenizer's first token; every window unless told.",
  ),
  documents: flag("Cuts each document of a text alone instead of all of them one behind the other."),
  first: flag("With --documents, only the first window of each."),
  field: string("NAME", "Field or column with the text in .jsonl and .parquet; text unless told."),
  separator: string("TEXT", "What stands between the documents of a plain text."),
  prompt: string("NAME", "Field with a prompt, where records are prompts with responses: only responses have labels."),
  response: string("NAME", "Field with its response; response unless told."),
  messages: string("NAME", "Field with a list of { role, content } in the place of both; the last is the response."),
  chat: flag("Prompts and responses are written as the tokenizer's chat template has it."),
};

/** Widths that are left, for every command that removes units. */
export const roundingOptions = {
  roundTo: string("auto|N", "Keep multiples of N units; auto (default) measures which width is fastest."),
};

/** Reads --round-to. */
export function roundingOf(text: string | undefined): number | "auto" | undefined {
  if (text === undefined || text === "auto") return text;
  const value = Number(text);
  if (Number.isInteger(value) && value >= 1 && value <= 1024) return value;
  throw new EspalierError("request", "--round-to", `expected auto or a whole number from 1 to 1024, got "${text}".`);
}

/** How recoveries that train do it; recipes have more. */
export const learningOptions = {
  train: string("DATA", "Inputs that a recovery trains on, all of them; those of --calib unless told."),
  trainLabels: string("FILE", "Classes of the inputs of --train, where they lie in a file of their own."),
  epochs: number("N", "How often training sees all inputs; 10 unless told.", 0, 1e6),
  updates: integer("N", "How long training lasts, instead of --epochs.", 1, 1e9),
  minutes: number("N", "Likewise; the first updates show how many there will be.", 0, 1e6),
  trainBatch: integer("N", "Samples of an update; 128 unless told.", 1, 65536),
  optimiser: choice(optimiserNames, "How parameters follow their gradients; adamw unless told."),
  rate: number("R", "Learning rate at its highest; what suits the optimiser unless told.", 0, 1e6),
  pad: integer("PIXELS", "Pictures move by up to so many pixels while training.", 0, 1024),
  flip: flag("Half of the pictures are mirrored while training."),
  mix: number("SHARE", "Lays up to so much of another input over each while distilling, such as 0.5.", 0, 1),
  freeze: list("PATTERN", "Parameters that training leaves alone: names, globs, or re: expressions."),
};

export type LearningGiven = Readonly<
  Record<Exclude<keyof typeof learningOptions, "train" | "trainLabels">, unknown>
> & {
  readonly epochs: number | undefined;
  readonly updates: number | undefined;
  readonly minutes: number | undefined;
  readonly trainBatch: number | undefined;
  readonly optimiser: (typeof optimiserNames)[number] | undefined;
  readonly rate: number | undefined;
  readonly pad: number | undefined;
  readonly flip: boolean;
  readonly mix: number | undefined;
  readonly freeze: readonly string[];
};

/** The same in the words of recipes; undefined where nothing was told. */
export function learningOf(options: LearningGiven): Learning | undefined {
  const { epochs, updates, minutes, optimiser, rate, pad, mix, trainBatch: batch, flip, freeze } = options;
  const told = given({ epochs, updates, minutes, batch, optimiser, rate, pad, mix });
  const learning = { ...told, ...(flip ? { flip } : {}), ...(freeze.length > 0 ? { freeze: [...freeze] } : {}) };
  return Object.keys(learning).length === 0 ? undefined : learning;
}

interface RuntimeChoice {
  readonly device: Runtime["device"] | undefined;
  readonly threads: number | undefined;
}

/**
 * Opens a runtime for the time of a job and closes it whatever happens. With a `signal` a job that is stopped waits for no
 * run; without, it may finish what it has begun.
 */
export async function withRuntime<T>(
  { device, threads }: RuntimeChoice,
  { signal }: Partial<Pick<Host, "signal">>,
  job: (runtime: Runtime) => Promise<T>,
): Promise<T> {
  const runtime = await openRuntime(given({ device, threads, signal }));
  try {
    return await job(runtime);
  } finally {
    await runtime.close();
  }
}

/** How text is read. */
export interface TextReading {
  readonly tokenizer: string | undefined;
  readonly window: number | undefined;
  readonly stride: number | undefined;
  readonly begin: "window" | "document" | "none" | undefined;
  readonly documents: boolean;
  readonly first: boolean;
  readonly field: string | undefined;
  readonly separator: string | undefined;
  readonly prompt: string | undefined;
  readonly response: string | undefined;
  readonly messages: string | undefined;
  readonly chat: boolean;
}

/** The same as data is opened with. */
function textOf(reading: TextReading) {
  const { documents, first, chat, tokenizer, window, stride, begin, field, separator } = reading;
  const { prompt, response, messages } = reading;
  return {
    ...{ perDocument: documents, first, chat },
    ...given({ tokenizer, window, stride, begin, field, separator, prompt, response, messages }),
  };
}

export interface Reading extends TextReading {
  readonly scale: number | undefined;
  readonly mean: readonly number[] | undefined;
  readonly std: readonly number[] | undefined;
  readonly size: number | undefined;
  readonly layout: DataOptions["layout"] | undefined;
  readonly shape: ReadonlyMap<string, readonly number[]>;
}

/** The inputs of a model; sizes that the file leaves open, but for the batch, are those that the user gave. */
export function inputsAt(
  model: Model,
  shape: ReadonlyMap<string, readonly number[]>,
): Model["onnx"]["graph"]["inputs"] {
  return model.onnx.graph.inputs.map((input) => {
    const given = shape.get(input.name);
    const dims = input.dims ?? given?.map((n, axis) => (axis === 0 ? null : n));
    if (dims === undefined) return input;
    return { ...input, dims: dims.map((n, axis) => (axis > 0 && typeof n !== "number" ? (given?.[axis] ?? n) : n)) };
  });
}

/** Data for a model, read as the options say, in the sizes of --shape. */
export async function dataFor(
  model: Model,
  spec: string,
  { scale, mean, std, size, layout, shape, ...text }: Reading,
  choice: {
    readonly seed?: number;
    readonly limit?: number | undefined;
    readonly labels?: string | undefined;
    /** Windows of text that are not full are left out: statistics would be those of filling. */
    readonly whole?: boolean;
  },
): Promise<IndexedDataset> {
  const { seed, limit, labels, whole = false } = choice;
  return openData(spec, {
    inputs: inputsAt(model, shape),
    model: model.name,
    ...given({ scale, mean, std, size, layout, seed, limit, labels }),
    text: { ...textFormOf(model), whole, ...textOf(text) },
  });
}

/** What a model says of the text that it takes: the rows of its embedding, where its last axis of answers is fixed. */
export function textFormOf(model: Model): NonNullable<DataOptions["text"]> {
  const dims = model.onnx.graph.outputs[0]?.dims;
  const rows = dims?.length === 3 ? dims[2] : undefined;
  return typeof rows === "number" ? { vocabulary: rows } : {};
}

type Given<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

/** The same without what is undefined. */
export function given<T extends object>(options: T): Given<T> {
  const kept: Given<T> = {};
  for (const key in options) {
    const value = options[key];
    if (isGiven(value)) kept[key] = value;
  }
  return kept;
}

function isGiven<T>(value: T): value is Exclude<T, undefined> {
  return value !== undefined;
}
