import type { Algebra, Value } from "../../graph/algebra/algebra.ts";

/** What an update of one parameter sees; everything has the parameter's shape. */
export interface Update {
  readonly parameter: Value;
  readonly gradient: Value;
  /** What the optimiser remembers of this parameter, zero before the first step. */
  slot(name: string): Value;
  /** A number that the host gives anew for each step, see `Optimiser.numbers`. */
  number(name: string): Value;
}

/** A parameter and its slots after one step. */
export interface Updated {
  readonly parameter: Value;
  readonly slots: ReadonlyMap<string, Value>;
}

/** How a parameter follows its gradient, as formulas that become part of the train step's graph. */
export interface Optimiser {
  readonly id: string;
  readonly slots: readonly string[];
  /** What the host computes for a step, counted from 1, at a learning rate; "rate" is always there too. */
  numbers(step: number, rate: number): Readonly<Record<string, number>>;
  update(g: Algebra, update: Update): Updated;
}
