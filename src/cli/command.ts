import { byteCount, EspalierError } from "../index.node.ts";
import type { Host } from "./host.ts";

/** One option: its flag as users type it, how its text becomes a value, and what it is for. */
export interface Option<T> {
  readonly placeholder: string | null;
  readonly help: string;
  readonly many: boolean;
  parse(texts: readonly string[], flag: string): T;
}

type Values<O> = { readonly [K in keyof O]: O[K] extends Option<infer T> ? T : never };

export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly args: readonly string[];
  readonly options: Readonly<Record<string, Option<unknown>>>;
  readonly examples: readonly string[];
  /** What the help says after the examples. */
  readonly more?: string;
  run(args: readonly string[], texts: ReadonlyMap<string, readonly string[]>, host: Host): Promise<void>;
}

/** A command as data; `run` gets typed options. */
export function command<const O extends Readonly<Record<string, Option<unknown>>>>(definition: {
  readonly name: string;
  readonly summary: string;
  readonly args: readonly string[];
  readonly options: O;
  readonly examples: readonly string[];
  readonly more?: string;
  run(args: readonly string[], options: Values<O>, host: Host): Promise<void>;
}): Command {
  const { options } = definition;
  return {
    ...definition,
    run: (args, texts, host) => definition.run(args, valuesOf(options, texts), host),
  };
}

/** Parses every option; mapped types over an index loop are the one place where the compiler needs a guard. */
function valuesOf<O extends Readonly<Record<string, Option<unknown>>>>(
  options: O,
  texts: ReadonlyMap<string, readonly string[]>,
): Values<O> {
  const values: Record<string, unknown> = {};
  for (const [key, option] of Object.entries(options)) values[key] = option.parse(texts.get(key) ?? [], flagOf(key));
  const complete = (candidate: Record<string, unknown>): candidate is Values<O> & Record<string, unknown> =>
    Object.keys(options).every((key) => key in candidate);
  if (!complete(values)) throw new Error("an option was not parsed");
  return values;
}

/** `keepMacs` is typed `--keep-macs`. */
export function flagOf(key: string): string {
  return `--${key.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;
}

function one<T>(placeholder: string, help: string, parse: (text: string, flag: string) => T): Option<T | undefined> {
  return {
    placeholder,
    help,
    many: false,
    parse: (texts, flag) => {
      const text = texts.at(-1);
      return text === undefined ? undefined : parse(text, flag);
    },
  };
}

function usage(flag: string, expected: string, got: string, hint = ""): EspalierError {
  return new EspalierError("request", flag, `expected ${expected}, got "${got}".`, hint);
}

export const flag = (help: string): Option<boolean> => ({
  placeholder: null,
  help,
  many: false,
  parse: (texts) => texts.length > 0,
});

export const string = (placeholder: string, help: string): Option<string | undefined> =>
  one(placeholder, help, (text) => text);

export const list = (placeholder: string, help: string): Option<readonly string[]> => ({
  placeholder,
  help,
  many: true,
  parse: (texts) => texts,
});

export const number = (placeholder: string, help: string, low: number, high: number): Option<number | undefined> =>
  one(placeholder, help, (text, name) => {
    const value = Number(text);
    if (text.trim() !== "" && value >= low && value <= high) return value;
    throw usage(name, `a number from ${low} to ${high}`, text);
  });

/** 0.485,0.456,0.406 */
export const numbers = (help: string): Option<readonly number[] | undefined> =>
  one("A,B,..", help, (text, name) => {
    const values = text.split(",").map(Number);
    if (text !== "" && values.every((value) => Number.isFinite(value))) return values;
    throw usage(name, "numbers with commas between them", text);
  });

export const integer = (placeholder: string, help: string, low: number, high: number): Option<number | undefined> =>
  one(placeholder, help, (text, name) => {
    const value = Number(text);
    if (Number.isInteger(value) && text.trim() !== "" && value >= low && value <= high) return value;
    throw usage(name, `a whole number from ${low} to ${high}`, text);
  });

/** 500MB, 3GB, or a plain number of bytes. */
export const bytes = (help: string): Option<number | undefined> =>
  one("SIZE", help, (text, name) => {
    const value = byteCount(text);
    if (value !== null) return value;
    throw usage(name, "a size such as 500MB or 3GB", text);
  });

export const choice = <const T extends string>(choices: readonly T[], help: string): Option<T | undefined> =>
  one(choices.join("|"), help, (text, name) => {
    const found = choices.find((candidate) => candidate === text);
    if (found !== undefined) return found;
    throw usage(name, `one of ${choices.join(", ")}`, text);
  });

/** NAME=1x3x224x224, once for each input. */
export const shapes = (help: string): Option<ReadonlyMap<string, readonly number[]>> => ({
  placeholder: "NAME=DIMS",
  help,
  many: true,
  parse: (texts, name) =>
    new Map(
      texts.map((text) => {
        const [input = "", dims = ""] = text.split(/=(?=[^=]*$)/);
        const sizes = dims.split(/[x,]/).map(Number);
        if (input !== "" && sizes.every((n) => Number.isInteger(n) && n > 0)) return [input, sizes] as const;
        throw usage(name, "NAME=1x3x224x224", text);
      }),
    ),
});

/** NAME=VALUE, once for each name. */
export const assignments = (help: string): Option<ReadonlyMap<string, string>> => ({
  placeholder: "NAME=VALUE",
  help,
  many: true,
  parse: (texts, name) =>
    new Map(
      texts.map((text) => {
        const cut = text.lastIndexOf("=");
        if (cut < 1 || cut === text.length - 1) throw usage(name, "NAME=VALUE", text);
        return [text.slice(0, cut), text.slice(cut + 1)];
      }),
    ),
});
