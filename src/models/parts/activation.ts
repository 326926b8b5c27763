import { string } from "../../graph/attributes.ts";
import { didYouMean, EspalierError } from "../../tensor/error.ts";
import type { Site } from "../checkpoint/site.ts";

type Write = (site: Site, x: string) => string;

const plain =
  (op: string): Write =>
  ({ draft }, x) =>
    draft.op(op, [x]);
const gelu =
  (approximate: "none" | "tanh"): Write =>
  ({ draft }, x) =>
    draft.op("Gelu", [x], { approximate: string(approximate) });

/** Activations by the names that configs use. */
const activations: ReadonlyMap<string, Write> = new Map<string, Write>([
  ["silu", ({ draft }, x) => draft.op("Mul", [x, draft.op("Sigmoid", [x])])],
  ["swish", ({ draft }, x) => draft.op("Mul", [x, draft.op("Sigmoid", [x])])],
  ["gelu", gelu("none")],
  ["gelu_new", gelu("tanh")],
  ["gelu_fast", gelu("tanh")],
  ["gelu_pytorch_tanh", gelu("tanh")],
  ["quick_gelu", (site, x) => quickGelu(site, x)],
  ["relu", plain("Relu")],
  ["relu2", ({ draft }, x) => square(draft.op("Relu", [x]), draft)],
  ["tanh", plain("Tanh")],
  ["sigmoid", plain("Sigmoid")],
]);

/** x · σ(1.702 x). */
function quickGelu(site: Site, x: string): string {
  const { draft } = site;
  return draft.op("Mul", [x, draft.op("Sigmoid", [draft.op("Mul", [x, site.float(1.702)])])]);
}

function square(x: string, draft: Site["draft"]): string {
  return draft.op("Mul", [x, x]);
}

/** The activation that a config names. Throws `format` for a name that is not known. */
export function activate(site: Site, x: string, name: string): string {
  const write = activations.get(name);
  if (write !== undefined) return write(site, x);
  const known = [...activations.keys()];
  const hint = didYouMean(name, known) || "Export the model to ONNX and prune that.";
  throw new EspalierError(
    "format",
    "config.json: activation",
    `expected one of ${known.join(", ")}, got "${name}".`,
    hint,
  );
}
