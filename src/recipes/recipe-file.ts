import { isMap, isScalar, LineCounter, type Node, parseDocument } from "yaml";
import * as z from "zod";
import { didYouMean, EspalierError } from "../tensor/error.ts";

const numbers = z.union([z.number().transform((n) => [n]), z.array(z.number()).min(1)]);

/** Where data is and how it is read, in recipes; a path alone stands for the rest by default. */
export const dataShape = {
  path: z.string(),
  limit: z.int().min(1).optional(),
  scale: z.number().optional(),
  mean: numbers.optional(),
  std: numbers.optional(),
  size: z.int().min(1).optional(),
  layout: z.enum(["nchw", "nhwc"]).optional(),
  labels: z.string().optional(),
  tokenizer: z.string().optional(),
  window: z.int().min(2).optional(),
  stride: z.int().min(1).optional(),
  begin: z.enum(["window", "document", "none"]).optional(),
  documents: z.boolean().optional(),
  first: z.boolean().optional(),
  field: z.string().optional(),
  separator: z.string().optional(),
  prompt: z.string().optional(),
  response: z.string().optional(),
  messages: z.string().optional(),
  chat: z.boolean().optional(),
};

const dataObject = z.strictObject(dataShape);
export const data = z.union([z.string().transform((path): z.infer<typeof dataObject> => ({ path })), dataObject]);

/** A text that is read by `read`, which gives null for what is not `expected`. */
export function textAs<T>(read: (text: string) => T | null, expected: string) {
  return z.string().transform((text, context): T => {
    const value = read(text);
    if (value !== null) return value;
    context.addIssue({ code: "custom", message: expected });
    return z.NEVER;
  });
}

/** What every recipe says of its job: what is read, what is written, and where it runs. */
export const jobShape = {
  model: z.string(),
  out: z.string(),
  report: z.string().optional(),
  seed: z
    .int()
    .min(0)
    .max(2 ** 31 - 1)
    .optional(),
  device: z.enum(["cpu", "wasm", "webgpu", "cuda"]).optional(),
  threads: z.int().min(1).max(1024).optional(),
};

/** A part of a recipe with keys of its own. */
export interface Part {
  /** How errors call it. */
  readonly name: string;
  readonly keys: readonly string[];
  holds(path: readonly PropertyKey[]): boolean;
}

/**
 * Reads and checks a file. Of `parts` the first that holds a path says which keys are known there. Throws `request` with
 * line and column of the first thing that is wrong.
 */
export function parseYaml<T>(text: string, file: string, schema: z.ZodType<T>, parts: readonly Part[]): T {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const at = (offset: number): string => {
    const { line, col } = lines.linePos(offset);
    return `${file}:${line}:${col}`;
  };
  const [broken] = document.errors;
  if (broken !== undefined) {
    const message = `expected YAML, got: ${broken.message.split("\n")[0]}.`;
    throw new EspalierError("request", at(broken.pos[0]), message);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 100 });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("request", file, `expected YAML without an excess of aliases, got: ${why}.`, "", { cause });
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issue = deepest(result.error.issues[0]);
  if (issue === undefined) throw new EspalierError("request", file, "expected a recipe.");
  if (issue.code === "unrecognized_keys") {
    const key = issue.keys[0] ?? "";
    const parent = issue.path.length === 0 ? document.contents : document.getIn(issue.path.map(indexed), true);
    const pair = isMap(parent) ? parent.items.find((item) => isScalar(item.key) && item.key.value === key) : undefined;
    const here = parts.find((part) => part.holds(issue.path));
    const known = here?.keys ?? [];
    const elsewhere = parts.filter((part) => part !== here && part.keys.includes(key)).map((part) => part.name);
    const hint =
      elsewhere.length > 0
        ? `It is a key of ${elsewhere.join(" or ")}.`
        : didYouMean(key, known) || `Known are ${known.join(", ")}.`;
    const place = at((isScalar(pair?.key) ? pair.key.range?.[0] : undefined) ?? 0);
    throw new EspalierError("request", place, `expected a known key, got "${key}".`, hint);
  }
  const name = issue.path.map(String).join(".") || "recipe";
  throw new EspalierError("request", at(offsetOf(document, issue.path)), `${name}: ${sentence(issue, value)}`);
}

type Issue = z.core.$ZodIssue;

/** Of a union, the branch that came furthest. */
function deepest(issue: Issue | undefined): Issue | undefined {
  if (issue?.code !== "invalid_union") return issue;
  const branches = issue.errors.map((issues) => issues[0]).filter((each) => each !== undefined);
  const best = branches.find(({ code, path }) => code === "unrecognized_keys" || code === "custom" || path.length > 0);
  if (best === undefined) return issue;
  return deepest({ ...best, path: [...issue.path, ...best.path] });
}

const indexed = (key: PropertyKey): string | number => (typeof key === "number" ? key : String(key));

/** Where a value stands; for a missing one, its nearest parent. */
function offsetOf(document: ReturnType<typeof parseDocument>, path: readonly PropertyKey[]): number {
  for (let depth = path.length; depth > 0; depth--) {
    const found = document.getIn(path.slice(0, depth).map(indexed), true);
    if (isPlaced(found)) return found.range?.[0] ?? 0;
  }
  return 0;
}

function isPlaced(value: unknown): value is Node {
  return typeof value === "object" && value !== null && "range" in value && Array.isArray(value.range);
}

function sentence(issue: Issue, root: unknown): string {
  let got: unknown = root;
  for (const key of issue.path) got = typeof got === "object" && got !== null ? Reflect.get(got, key) : undefined;
  const found = got === undefined ? "nothing" : JSON.stringify(got).slice(0, 60);
  switch (issue.code) {
    case "invalid_type":
      return `expected ${issue.expected}, got ${found}.`;
    case "invalid_value":
      return `expected one of ${issue.values.map(String).join(", ")}, got ${found}.`;
    case "too_small":
      return `expected at least ${issue.minimum}, got ${found}.`;
    case "too_big":
      return `expected at most ${issue.maximum}, got ${found}.`;
    case "custom":
      return `expected ${issue.message}, got ${found}.`;
    default:
      return `expected ${got === undefined ? "a value" : "something else"}, got ${found}.`;
  }
}
