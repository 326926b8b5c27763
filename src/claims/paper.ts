import type { Plan } from "../plans/plan.ts";
import type { SparseTraining } from "../sparsify/training/train-sparse.ts";
import { type OptionTable, type OptionValue, type PlanOption, readOptions, type ValuesOf } from "./plan-options.ts";
import type { PaperRecord, Some } from "./record.ts";
import type { Bench, Findings } from "./reproduction.ts";

/** Laws of the conformance suite that a method may break, with a reason. */
export type Law = "zeroIsIdentity" | "meetsFraction" | "nests";

/** What a paper's method does: prune a trained model, or make a network sparse while it is trained. */
export type PaperPlan = Plan | SparseTraining;

/** What a paper's file says. */
export interface PaperDefinition<Id extends string, O extends OptionTable, P extends PaperPlan> {
  /** Name of the file and of the command's argument. */
  readonly id: Id;
  readonly summary: string;
  readonly cite: {
    readonly title: string;
    readonly year: number;
    readonly arxiv: string | null;
    /** The place in the paper that the plan follows. */
    readonly equation: string;
  };
  /** The authors' code, or null where none is public. */
  readonly code: string | null;
  /** Scores of the authors' code that a test compares with, or why there are none. */
  readonly golden: string;
  /** Where this differs from the paper or its code. */
  readonly departures: readonly string[];
  readonly record: PaperRecord;
  /** Settings that a user may change; every method has a sparsity. */
  readonly options: O;
  readonly plan: (options: ValuesOf<O>) => P;
  readonly exempt?: Readonly<Partial<Record<Law, string>>>;
  readonly reproduction: DefinedReproduction<O, P>;
  /** Reproductions on testbeds of other kinds, by the kind: "language models". */
  readonly also?: Readonly<Record<string, DefinedReproduction<O, P>>>;
}

interface DefinedReproduction<O extends OptionTable, P extends PaperPlan> {
  /** What the paper claims, in words that a run can confirm or not. */
  readonly claim: string;
  readonly testbeds: Some<string>;
  /** What to compare; `plan` is this paper's own. */
  readonly run: (bench: Bench, plan: (given: Partial<ValuesOf<O>>) => P) => Promise<Findings>;
}

/** A run that tests a claim of a paper. */
export interface Reproduction {
  /** The kind of testbeds, where it is not the one that the paper is first tested on. */
  readonly on: string | null;
  readonly claim: string;
  readonly testbeds: Some<string>;
  run(bench: Bench): Promise<Findings>;
}

/** A paper as the rest of espalier sees it. */
export interface PaperOf<P extends PaperPlan, Id extends string = string>
  extends Omit<PaperDefinition<Id, OptionTable, P>, "plan" | "reproduction" | "also"> {
  /** The plan at the given settings, defaults for the others. Throws `request` for a setting that cannot be. */
  plan(given?: Readonly<Record<string, OptionValue | undefined>>): P;
  readonly reproductions: Some<Reproduction>;
}

/** A paper that prunes a trained model. */
export type Paper<Id extends string = string> = PaperOf<Plan, Id>;

/** A paper that makes a network sparse while it is trained. */
export type TrainingPaper<Id extends string = string> = PaperOf<SparseTraining, Id>;

type Options = OptionTable & { readonly sparsity: PlanOption<number> };

/** Makes a paper of its definition: a composition of shared parts, its record, and the run that tests its claim. */
export function paper<const Id extends string, const O extends Options>(
  definition: PaperDefinition<Id, O, Plan>,
): Paper<Id> {
  return made(definition);
}

/** The same for a method that trains. */
export function trainingPaper<const Id extends string, const O extends Options>(
  definition: PaperDefinition<Id, O, SparseTraining>,
): TrainingPaper<Id> {
  return made(definition);
}

function made<Id extends string, O extends Options, P extends PaperPlan>(
  definition: PaperDefinition<Id, O, P>,
): PaperOf<P, Id> {
  const { reproduction, also = {}, ...rest } = definition;
  const { id, options } = rest;
  const plan: PaperOf<P, Id>["plan"] = (given = {}) => definition.plan(readOptions(options, given, id));
  const bound = (on: string | null, one: DefinedReproduction<O, P>): Reproduction => ({
    ...one,
    on,
    run: (bench) => one.run(bench, plan),
  });
  const others = Object.entries(also).map(([on, one]) => bound(on, one));
  return { ...rest, plan, reproductions: [bound(null, reproduction), ...others] };
}

/** The reproduction that is meant for a testbed; the first where none names it. */
export function reproductionOn<P extends PaperPlan>(
  paper: Pick<PaperOf<P>, "reproductions">,
  testbed: string,
): Reproduction {
  const { reproductions } = paper;
  return reproductions.find(({ testbeds }) => testbeds.includes(testbed)) ?? reproductions[0];
}
