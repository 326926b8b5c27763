/** One step of the order in which folders may import: from earlier steps, and from their own folder. */
interface Layer {
  readonly folders: readonly string[];
  readonly holds: string;
}

/**
 * The order of `src`: a folder imports only from folders above it in this list, and folders of one entry do not see each
 * other. The layering check and docs/architecture.md both read this list.
 */
export const layers: readonly Layer[] = [
  {
    folders: ["tensor"],
    holds:
      "number types, shapes, tensors in memory and lazy references, half floats, seeded random numbers, selection, dense linear algebra, statistics, the error class",
  },
  {
    folders: ["tokenizers"],
    holds: "text to token ids and back, conversations by templates, byte-level vocabularies learnt from text",
  },
  {
    folders: ["solve", "graph", "data"],
    holds:
      "pure solvers that see no model (knapsack, bisection, mixed-integer programs); the ONNX graph in memory (build, walk, rewrite, fold constants, drop dead code, verify, print); streams of named tensors (npy, npz, image folders, idx, CIFAR; windows of tokens of plain text, JSON lines, Parquet)",
  },
  {
    folders: ["formats", "ops"],
    holds:
      "ONNX and safetensors codecs over files, blobs and HTTP ranges, where bytes are hostile; folders of checkpoints; what each operator means (axes, sizes, cost, kernels, roles, gradients)",
  },
  {
    folders: ["runtime", "coupling"],
    holds:
      "ONNX Runtime (devices, compile, run, state, measure), the only importer of onnxruntime-*; groups, sets and units, with index maps and reasons; residual branches and heads",
  },
  {
    folders: ["cost", "autodiff"],
    holds:
      "parameters, multiply-accumulates and bytes as functions of what is kept; graphs at fixed sizes, and the gradients written behind them",
  },
  {
    folders: ["train"],
    holds: "losses, optimisers, re-parameterisations, train steps and the loop around them, snapshots",
  },
  {
    folders: ["models"],
    holds:
      "a loaded model, and its analysis: types, values, groups, cost; checkpoints as ordered stages, each a graph, from one short file per architecture",
  },
  { folders: ["stats"], holds: "what data tells of a model: taps and reducers, gradients, branches, fidelity" },
  { folders: ["criteria"], holds: "weights and statistics to scores, pure; a larger score means keep" },
  { folders: ["allocation", "schedule"], holds: "how much goes where; when, and in how many steps" },
  { folders: ["masks"], holds: "scores and shares to masks by element, N:M, block, unit" },
  {
    folders: ["surgery"],
    holds: "graph and masks to a smaller graph, and the law that every result is checked against",
  },
  {
    folders: ["recovery", "sparsify", "search"],
    holds: "repairs after pruning; engines that prune during training; loops that evaluate models",
  },
  { folders: ["plans"], holds: "what is to be done, in the user's words and fully resolved: methods, settings, plans" },
  {
    folders: ["pipeline"],
    holds: "`prune`, what it measures and the report's data; the only place where the steps meet",
  },
  {
    folders: ["stream"],
    holds:
      "checkpoints pruned and measured stage by stage: kinds of stages, windows on their way through them, finished stages in a journal",
  },
  {
    folders: ["recipes", "studies", "claims"],
    holds:
      "files that say what to run, and their runs; questions that take many prunings or none (compare, sensitivity, evaluate, explain); what a paper states: its record, options and reproductions, and the ledger that counts what a run took",
  },
  { folders: ["testbeds"], holds: "small models and data that reproductions and tests share" },
  { folders: ["papers"], holds: "one file per paper: citation, method, reproduction with a measured claim" },
  { folders: ["report"], holds: "the report as a self-contained HTML page with plots" },
  { folders: ["public.ts", "index.ts", "index.node.ts"], holds: "the public names, nothing else" },
  { folders: ["cli"], holds: "the commands; they import the public names only, so these must suffice" },
];

const publicFiles: ReadonlySet<string> = new Set(["public.ts", "index.ts", "index.node.ts"]);

/** The folder that a path below `src` lies in, or the file itself when it lies in `src`. */
function placeOf(path: string): string {
  return path.split("/")[0] ?? "";
}

function rankOf(place: string): number {
  return layers.findIndex(({ folders }) => folders.includes(place));
}

/** Why one file of `src` may not import another, or null when it may. Paths are relative to `src`. */
export function forbidden(from: string, to: string): string | null {
  const [source, target] = [placeOf(from), placeOf(to)];
  if (source === target || (publicFiles.has(source) && publicFiles.has(target))) return null;
  const [here, there] = [rankOf(source), rankOf(target)];
  if (here < 0) return `${source} is not in the list of layers`;
  if (there < 0) return `${target} is not in the list of layers`;
  if (source === "cli") return target === "index.node.ts" ? null : "cli imports index.node.ts only";
  if (there === here) return `${source} and ${target} share a step and do not see each other`;
  return there < here ? null : `${source} stands below ${target}`;
}
