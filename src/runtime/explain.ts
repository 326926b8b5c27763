import { EspalierError } from "../tensor/error.ts";

/** A failure of the runtime as an error that names the node, when the text tells it. Own errors pass unchanged. */
export function explain(cause: unknown, doing: string): EspalierError {
  if (cause instanceof EspalierError) return cause;
  const text = cause instanceof Error ? cause.message : String(cause);
  return new EspalierError("runtime", nodeIn(text) ?? doing, sentence(text), hintFor(text), { cause });
}

const nodePatterns = [
  /running \S+ node\. Name:'([^']+)'/,
  /Node \(([^)]+)\) Op \(/,
  /Error in Node:\s*([^:]+?)\s*:/,
  /In Node, \("([^"]+)"/,
  /in node \(([^)]+)\)/,
  /node with name '([^']+)'/,
];

function nodeIn(text: string): string | undefined {
  for (const pattern of nodePatterns) {
    const found = pattern.exec(text)?.[1];
    if (found !== undefined) return found;
  }
  return undefined;
}

/** The runtime's own words without the places in its sources, which say nothing to a user. */
function sentence(text: string): string {
  const plain = text
    .replace(/\/onnxruntime_src\/\S+ /g, "")
    .replace(/\s+/g, " ")
    .trim();
  const short = plain.length > 600 ? `${plain.slice(0, 600)}…` : plain;
  return `the runtime refused: ${short}${/[.!?…]$/.test(short) ? "" : "."}`;
}

const hints: readonly (readonly [pattern: RegExp, hint: string])[] = [
  [
    /not a registered function\/op|No Op registered|No opset import for domain/,
    "The runtime lacks this operator; choose another opset or export the model with standard operators.",
  ],
  [
    /Could not find an implementation/,
    "The runtime has no kernel for these element types on this device; convert the model to f32 or f16.",
  ],
  [
    /Failed to load shared library|CUDA/,
    "The CUDA libraries are missing: install them with npm install onnxruntime-node --onnxruntime-node-install=cuda12.",
  ],
  [/GPU adapter|WebGPU/, "No GPU could be used; choose --device cpu."],
  [/bad_alloc|out of memory|[Ff]ailed to allocate/, "Use a smaller batch or a machine with more memory."],
  [
    /[Uu]nsupported model IR version|opset .* is under development/,
    "The file is newer than the runtime; update onnxruntime.",
  ],
];

function hintFor(text: string): string {
  return hints.find(([pattern]) => pattern.test(text))?.[1] ?? "";
}
