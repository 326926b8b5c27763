import { stringify } from "yaml";
import { learningShape } from "../plans/learning.ts";
import { type Recipe, recipeShape, stepShape } from "./recipe.ts";
import { dataShape } from "./recipe-file.ts";

/**
 * A recipe as YAML that `parseRecipe` reads back, with another name for what it writes. It says what decides the result and
 * nothing else: no report, and keys in one order, so that equal recipes are equal texts.
 */
export function recipeText({ report, steps, ...recipe }: Recipe, out: string): string {
  const data = { calibration: recipe.calibration, general: recipe.general };
  const more = { training: recipe.training, evaluation: recipe.evaluation };
  const read = Object.entries({ ...data, ...more }).map(([name, each]) => [name, dataText(each)]);
  const each = steps.map((step) => {
    const train = step.train === undefined ? {} : { train: ordered(step.train, learningShape) };
    return ordered({ ...step, ...train }, stepShape);
  });
  return stringify(ordered({ ...recipe, ...Object.fromEntries(read), out, steps: each }, recipeShape), {
    lineWidth: 0,
  });
}

function dataText(data: Recipe["calibration"]): unknown {
  if (data === undefined) return undefined;
  return Object.values(data).filter((value) => value !== undefined).length === 1 ? data.path : ordered(data, dataShape);
}

/** What is told of an object, in the order in which its shape names it. */
function ordered(value: object, shape: object): Readonly<Record<string, unknown>> {
  const told = new Map(Object.entries(value));
  return Object.fromEntries(
    Object.keys(shape).flatMap((key) => (told.get(key) === undefined ? [] : [[key, told.get(key)]])),
  );
}
