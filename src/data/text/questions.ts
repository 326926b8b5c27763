import { EspalierError } from "../../tensor/error.ts";
import type { Records } from "./documents.ts";

/** A question with answers to choose from: the one that a model finds most likely behind the context is its choice. */
export interface ChoiceQuestion {
  readonly kind: "choice";
  readonly context: string;
  readonly choices: readonly string[];
  /** Right ones, by their places. */
  readonly gold: readonly number[];
}

/** A question that a model answers with text of its own, which has to be one of the targets. */
export interface MatchQuestion {
  readonly kind: "match";
  readonly context: string;
  readonly targets: readonly string[];
  /** Texts before which the answer ends. */
  readonly until: readonly string[];
}

export type Question = ChoiceQuestion | MatchQuestion;

/**
 * Questions from records of the fields `context`, and either `choices` with `gold` (a place, or several) or `target` (a
 * text, or several) with `until`. Throws `data` for records of another form, and where there are none.
 */
export async function readQuestions(records: Records): Promise<readonly Question[]> {
  const found: Question[] = [];
  for await (const record of records.read())
    found.push(questionOf(record, `${records.description}, record ${found.length}`));
  if (found.length > 0) return found;
  throw new EspalierError("data", records.description, "expected questions, got none.");
}

function questionOf(record: Readonly<Record<string, unknown>>, where: string): Question {
  const { context, choices, gold, target, until = ["\n"] } = record;
  const fail = (expected: string, got: unknown): EspalierError => {
    const shown =
      got === undefined ? `fields ${Object.keys(record).slice(0, 6).join(", ")}` : JSON.stringify(got).slice(0, 60);
    return new EspalierError("data", where, `expected ${expected}, got ${shown}.`);
  };
  if (typeof context !== "string") throw fail('a text in "context"', context);
  if (choices !== undefined) {
    if (!isTexts(choices) || choices.length < 2 || choices.includes(""))
      throw fail('at least two texts in "choices"', choices);
    const right: readonly unknown[] = [gold].flat();
    const places = right.filter((place): place is number => typeof place === "number" && choices[place] !== undefined);
    if (places.length === 0 || places.length < right.length) {
      throw fail(`places below ${choices.length} in "gold"`, gold);
    }
    return { kind: "choice", context, choices, gold: places };
  }
  const targets = typeof target === "string" ? [target] : target;
  if (!isTexts(targets) || targets.length === 0) throw fail('"choices" with "gold", or a text in "target"', target);
  const ends = typeof until === "string" ? [until] : until;
  if (!isTexts(ends)) throw fail('texts in "until"', until);
  return { kind: "match", context, targets, until: ends.filter((text) => text !== "") };
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((text) => typeof text === "string");
}
