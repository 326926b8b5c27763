import type { Target } from "../allocation/target.ts";
import type { WeightPlan } from "../plans/plan.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";

export type OptionValue = number | string | boolean;

/** One setting of a method: its default, what it is for, and how a value or a user's text is read. */
export interface PlanOption<T extends OptionValue = OptionValue> {
  readonly initial: T;
  readonly help: string;
  /** What it takes, as help and docs print it. */
  readonly takes: string;
  /** Words that it takes, where it takes words. */
  readonly words: readonly string[];
  /** The value, from one of its kind or from text. Throws `request`. */
  read(given: OptionValue, name: string): T;
}

export type OptionTable = Readonly<Record<string, PlanOption>>;

/** The values that a table of options gives. */
export type ValuesOf<O> = { readonly [K in keyof O]: O[K] extends PlanOption<infer T> ? T : never };

/** A number from 0 to 1. */
export const fraction = (initial: number, help: string): PlanOption<number> => numeric(initial, help, 0, 1, false);

/** A whole number in a range. */
export const whole = (initial: number, help: string, low: number, high: number): PlanOption<number> =>
  numeric(initial, help, low, high, true);

function numeric(initial: number, help: string, low: number, high: number, integer: boolean): PlanOption<number> {
  const takes = `${low} to ${high}`;
  return {
    initial,
    help,
    takes,
    words: [],
    read: (given, name) => {
      const value = typeof given === "string" && given.trim() !== "" ? Number(given) : given;
      if (typeof value === "number" && value >= low && value <= high && (!integer || Number.isInteger(value))) {
        return value;
      }
      throw new EspalierError(
        "request",
        name,
        `expected ${integer ? "a whole number" : "a number"} from ${takes}, got ${given}.`,
      );
    },
  };
}

/** One of several words. */
export function oneOf<const W extends readonly [string, ...string[]]>(words: W, help: string): PlanOption<W[number]> {
  return {
    initial: words[0],
    help,
    takes: words.join(" | "),
    words,
    read: (given, name) => {
      const found = words.find((word) => word === given);
      if (found !== undefined) return found;
      const hint = didYouMean(`${given}`, words);
      throw new EspalierError("request", name, `expected one of ${words.join(", ")}, got ${given}.`, hint);
    },
  };
}

/** Every option with its given value or its default. Throws `request` for a name that the table does not have. */
export function readOptions<O extends OptionTable>(
  table: O,
  given: Readonly<Record<string, OptionValue | undefined>>,
  where: string,
): ValuesOf<O> {
  for (const name of Object.keys(given)) {
    if (name in table) continue;
    const known = Object.keys(table);
    const hint = didYouMean(name, known) || `It has ${known.join(", ")}.`;
    throw new EspalierError("request", `${where} ${name}`, "expected an option of this method.", hint);
  }
  const values: Record<string, OptionValue> = {};
  for (const [name, option] of Object.entries(table)) {
    values[name] = option.read(given[name] ?? option.initial, `${where} ${name}`);
  }
  const complete = (found: Readonly<Record<string, OptionValue>>): found is ValuesOf<O> & typeof found =>
    Object.keys(table).every((name) => name in found);
  if (!complete(values)) throw new Error("an option was not read");
  return values;
}

/** What the sparsity of a method that removes units is a share of. */
export const shareOf = oneOf(["macs", "params", "units"], "What `sparsity` is a share of.");

/** The same for methods of language models, whose shares are of parameters. */
export const parameterShareOf = oneOf(["params", "macs", "units"], "What `sparsity` is a share of.");

/** What is left over at the end of a row loses the same share, so that methods are compared at equal shares. */
const patterns = {
  element: { kind: "element" },
  "2:4": { kind: "n:m", keep: 2, of: 4, rest: "shorter" },
  "4:8": { kind: "n:m", keep: 4, of: 8, rest: "shorter" },
} as const;

/** What goes together, for methods that remove weights. */
export const patternOption = oneOf(
  ["element", "2:4", "4:8"],
  "Single weights, or N kept of every M, which then decides the share.",
);

/** Which matrices take part. */
export const amongOption = oneOf(
  ["all", "no-head", "no-stem", "inner"],
  "Which matrices: all, or without those nearest to the outputs, to the inputs, or to both.",
);

/** The pattern of that name. */
export function patternNamed(name: keyof typeof patterns): Exclude<WeightPlan["pattern"], { readonly kind: "block" }> {
  return patterns[name];
}

/** The target that leaves all but a share of the work, the parameters, or the units. */
export function without(sparsity: number, of: "macs" | "params" | "units"): Target {
  return of === "units" ? { kind: "sparsity", sparsity } : { kind: of, keep: 1 - sparsity };
}
