import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import type { LossContext, Objective, Objectives } from "../step.ts";

/** A term of an objective, a number, from the parameters and values of the model. */
export type Regulariser = (context: LossContext) => Value;

/** How much a term counts: a fixed factor, or the name of a number that the host gives at each step. */
export type Strength = number | string;

/** A term with its strength. */
export interface Penalty {
  readonly strength: Strength;
  readonly term: Regulariser;
}

/** The objective plus each penalty times its strength; penalties are reported under their names, without the strength. */
export function regularised(objective: Objective, penalties: Readonly<Record<string, Penalty>>): Objective {
  return (context): Objectives => {
    const { g } = context;
    const found = objective(context);
    const { loss, reports } = "loss" in found ? found : { loss: found, reports: { objective: found } };
    const named: Record<string, Value> = { ...reports };
    let total = loss;
    for (const [name, { strength, term }] of Object.entries(penalties)) {
      const value = term(context);
      named[name] = value;
      total = g.add(total, g.mul(value, typeof strength === "number" ? strength : context.number(strength)));
    }
    return { loss: total, reports: named };
  };
}

/** Σ|w| over parameters. The gradient is sign(w): values near zero swing around it by the rate (see `shrink` for exact zeros). */
export function l1(parameters: readonly string[]): Regulariser {
  return ({ g, of }) => g.total(parameters.map((name) => g.reduce("ReduceL1", floats(g, of(name)))));
}

/** Σw² over parameters. */
export function squares(parameters: readonly string[]): Regulariser {
  return ({ g, of }) => g.total(parameters.map((name) => g.reduce("ReduceSumSquare", floats(g, of(name)))));
}

/** Σ|γ| over the scales of norms, of the channels only whose entry is 1 where a mask is given (MaskSparsity; slimming without). */
export function scaleL1(scales: ReadonlyMap<string, ArrayLike<number> | null>): Regulariser {
  return ({ g, of }) =>
    g.total(
      [...scales].map(([name, chosen]) => {
        const scale = floats(g, of(name));
        if (chosen === null) return g.reduce("ReduceL1", scale);
        const weights = g.constant(float32Tensor([chosen.length], Float32Array.from(chosen)), "chosen");
        return g.sum(g.mul(g.map("Abs", scale), weights));
      }),
    );
}

/** t · Σ|γ| − Σ|γ − γ̄| over all scales together: drives each towards 0 or away from it (Zhuang et al. 2020, Eq. 3). */
export function polarisation(scales: readonly string[], t: number): Regulariser {
  return ({ g, of }) => {
    const values = scales.map((name) => floats(g, of(name)));
    const all = g.concat(values, 0);
    const spread = g.reduce("ReduceL1", g.sub(all, g.mean(all)));
    return g.sub(g.mul(g.reduce("ReduceL1", all), t), spread);
  };
}

/** Where the units of a group lie in one parameter: the unit of each position of an axis, -1 for positions of no unit. */
export interface GroupPlace {
  readonly parameter: string;
  readonly axis: number;
  readonly units: ArrayLike<number>;
}

/** The square sum of all weights of each unit, over all places. → f32 [units] */
function unitSquares({ g, of }: LossContext, count: number, places: readonly GroupPlace[]): Value {
  const parts = places.map(({ parameter, axis, units }) => {
    const value = floats(g, of(parameter));
    const others = value.shape.map((_, i) => i).filter((i) => i !== axis);
    const perPosition = g.reduce("ReduceSumSquare", value, others);
    if (Array.from(units).every((unit, i) => unit === i) && units.length === count) return perPosition;
    // Units of many positions are few: a product with 0 and 1 adds them up, and is as easy to differentiate.
    const member = new Float32Array(units.length * count);
    for (let i = 0; i < units.length; i++) if ((units[i] ?? -1) >= 0) member[i * count + (units[i] ?? 0)] = 1;
    const row = g.reshape(perPosition, [1, units.length]);
    return g.reshape(g.matMul(row, g.constant(float32Tensor([units.length, count], member), "members")), [count]);
  });
  return g.total(parts);
}

/**
 * Σ over units of √size · ‖weights of the unit‖₂, the weights of all places together (group lasso, Yuan and Lin 2006; over
 * coupled parameters as in DepGraph). `weights` scales single units: only those that are to go, say.
 */
export function groupLasso(count: number, places: readonly GroupPlace[], weights?: ArrayLike<number>): Regulariser {
  if (places.length === 0) throw new EspalierError("request", "group lasso", "expected at least one place, got none.");
  return (context) => {
    const { g, of } = context;
    let size = 0;
    for (const { parameter, axis } of places) {
      const shape = of(parameter).shape;
      size += shape.reduce((n, dim) => n * dim, 1) / (shape[axis] ?? 1);
    }
    // A hair above zero: the root has no slope at zero.
    const norms = g.sqrt(g.add(unitSquares(context, count, places), 1e-12));
    if (weights === undefined) return g.mul(g.sum(norms), Math.sqrt(size));
    const each = g.constant(float32Tensor([count], Float32Array.from(weights)), "weights");
    return g.mul(g.sum(g.mul(norms, each)), Math.sqrt(size));
  };
}

/** Name of the tensor with the singular directions of a parameter, which the host feeds. */
export const directionsOf = (parameter: string): string => `directions:${parameter}`;

/**
 * Σ of singular values, by its sub-gradient U·Vᵀ, which the host computes (`directions` of src/tensor/low-rank) and feeds under
 * `directionsOf`: Σ w ∘ UVᵀ is the nuclear norm where the directions are fresh, and has this gradient (TRP, section 3.2).
 */
export function nuclearNorm(parameters: readonly string[]): Regulariser {
  return ({ g, of, input }) =>
    g.total(
      parameters.map((name) => {
        const value = floats(g, of(name));
        return g.sum(g.mul(value, input(directionsOf(name), "f32", value.shape)));
      }),
    );
}

/** A part of the cost of a model: what it is whole, and the gates that decide how much of it stays. */
export interface SizeTerm {
  readonly cost: number;
  /** Values of the model with the probability that each gate is open; the term is multiplied by the mean of each. */
  readonly open: readonly string[];
}

/** Expected cost, as a share of the whole: Σ cost · Π mean(open). Parameters and MACs alike, differentiable. */
export function expectedSize(terms: readonly SizeTerm[]): Regulariser {
  const whole = terms.reduce((sum, { cost }) => sum + cost, 0);
  return ({ g, of }) =>
    g.total(
      terms.map(({ cost, open }) =>
        open.reduce((product, name) => g.mul(product, g.mean(of(name))), g.scalar(cost / whole)),
      ),
    );
}

/** How far a share lies above what it may be: λ · excess + μ/2 · excess² where `multiplier` is a number of the host. */
export function constraint(share: Regulariser, target: number, multiplier: string, curvature = 0): Regulariser {
  return (context) => {
    const { g } = context;
    const excess = g.sub(share(context), target);
    const linear = g.mul(excess, context.number(multiplier));
    return curvature === 0 ? linear : g.add(linear, g.mul(g.square(excess), curvature / 2));
  };
}

/** sign(w) · max(|w| − amount, 0): the exact step of an L1 penalty, for `afterUpdate`. */
export function shrink(g: Algebra, w: Value, amount: Value | number): Value {
  return g.mul(g.map("Sign", w), g.max(g.sub(g.map("Abs", w), amount), 0));
}

function floats(g: Algebra, value: Value): Value {
  return g.cast(value, "f32");
}
