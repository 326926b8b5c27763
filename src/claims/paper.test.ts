import { expect, expectTypeOf, it } from "vitest";
import { layered } from "../plans/layered.ts";
import { paper } from "./paper.ts";
import { fraction, oneOf, patternNamed, readOptions, whole, without } from "./plan-options.ts";
import type { PaperRecord } from "./record.ts";

const record: PaperRecord = {
  removes: ["weight"],
  speedup: ["unstructured"],
  when: ["after"],
  criterion: ["magnitude"],
  learn: ["none"],
  fusion: ["none"],
  data: ["none"],
  supervision: ["none"],
  scope: ["local"],
  iterations: ["one-shot"],
  recovery: ["none"],
  models: ["cnn"],
  guarantee: ["heuristic"],
  gradients: false,
  weightUpdate: false,
};
const about = {
  summary: "A test.",
  cite: { title: "Test", year: 2024, arxiv: null, equation: "Eq. 1" },
  code: null,
  golden: "None.",
  departures: [],
  record,
} as const;
const reproduction = { claim: "None.", testbeds: ["glyphs"], run: () => Promise.reject(new Error("not run")) } as const;

const made = paper({
  ...about,
  id: "test",
  options: { sparsity: fraction(0.5, "Share."), profile: oneOf(["uniform", "erk"], "Shares of layers.") },
  plan: ({ sparsity, profile }) => {
    expectTypeOf(sparsity).toEqualTypeOf<number>();
    expectTypeOf(profile).toEqualTypeOf<"uniform" | "erk">();
    return layered(sparsity, profile);
  },
  reproduction,
});

it("fills in defaults and reads text as users type it", () => {
  expectTypeOf(made.id).toEqualTypeOf<"test">();
  expect(made.plan()).toMatchObject({ sparsity: 0.5, profile: "uniform" });
  expect(made.plan({ sparsity: "0.25", profile: "erk" })).toMatchObject({ sparsity: 0.25, profile: "erk" });
});

it("wrong papers do not compile", () => {
  // @ts-expect-error every axis of a record has a word
  const empty: PaperRecord = { ...record, models: [] };
  // @ts-expect-error words are those of the vocabulary
  const unknown: PaperRecord = { ...record, data: ["some"] };
  // @ts-expect-error a record without an axis is no record
  const partial: PaperRecord = { removes: ["weight"], gradients: false, weightUpdate: false };
  // @ts-expect-error every method has a sparsity
  paper({ ...about, id: "b", options: {}, plan: () => layered(0, "uniform"), reproduction });
  const options = { sparsity: fraction(0.5, "Share.") };
  // @ts-expect-error an option that was not declared
  paper({ ...about, id: "c", options, plan: ({ share }) => layered(share, "uniform"), reproduction });
  expect([empty, unknown, partial]).toHaveLength(3);
});

it("refuses values that an option does not take, naming it", () => {
  expect(() => made.plan({ sparsity: -0.1 })).toThrow("test sparsity: expected a number from 0 to 1, got -0.1.");
  expect(() => made.plan({ sparsity: "" })).toThrow("test sparsity");
  expect(() => made.plan({ sparsity: Number.NaN })).toThrow("test sparsity");
  expect(() => made.plan({ profile: "er" })).toThrow('Did you mean "erk"?');
  expect(() => made.plan({ scope: "row" })).toThrow("It has sparsity, profile.");
  expect(() => readOptions({ steps: whole(3, "Steps.", 1, 9) }, { steps: 2.5 }, "x")).toThrow("a whole number");
});

it("names targets and patterns", () => {
  expect(without(0.25, "macs")).toEqual({ kind: "macs", keep: 0.75 });
  expect(without(0.25, "units")).toEqual({ kind: "sparsity", sparsity: 0.25 });
  expect(patternNamed("2:4")).toEqual({ kind: "n:m", keep: 2, of: 4, rest: "shorter" });
});
