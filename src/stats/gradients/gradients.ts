import { gradient } from "../../autodiff/gradient.ts";
import type { Dataset } from "../../data/dataset.ts";
import type { Algebra, Value } from "../../graph/algebra/algebra.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { type Random, random } from "../../tensor/random.ts";
import { type HostTensor, sizeOf } from "../../tensor/tensor.ts";
import { type GradientPass, type GradientPassOptions, gradientPass } from "./gradient-pass.ts";

/** What backward passes over calibration data measure of each weight, in the layout of its parameter. */
export interface GradientStatistics {
  /** g = ∂loss/∂w of the mean loss of all labels that count. */
  readonly gradient?: Float32Array;
  /** Mean over samples of |g| of each sample alone. */
  readonly gradientMagnitude?: Float32Array;
  /** Mean over samples of g² of each sample alone: the diagonal of the empirical Fisher matrix. */
  readonly gradientSquare?: Float32Array;
  /** Diagonal of the Hessian, estimated: mean of v ∘ Hv over random signs v (Hutchinson; one draw for each batch). */
  readonly hessianDiagonal?: Float32Array;
  /** H·g at logits divided by 200 (GraSP, Wang et al. 2020), g the mean gradient, up to one positive factor for the model. */
  readonly hessianGradient?: Float32Array;
}

export type GradientNeed = keyof GradientStatistics;

/** Softens logits so that classes are about equally likely, as GraSP's authors do. */
const graspTemperature = 200;

export interface GradientOptions extends Omit<GradientPassOptions, "detail"> {
  readonly seed?: number;
}

/** What the names of fed directions begin with. */
const direction = "direction/";

type Vectors = ReadonlyMap<string, Float32Array>;

/** What the passes of one measurement share. */
interface Measuring {
  /** The mean of what a pass writes. */
  mean(pass: GradientPass): Promise<Vectors>;
  readonly source: Random;
}

/** How each statistic is measured. */
const measurements: { readonly [N in GradientNeed]: (measuring: Measuring) => Promise<Vectors> } = {
  gradient: ({ mean }) => mean({ write: (g, loss, names) => gradients(g, loss(), names) }),
  gradientMagnitude: ({ mean }) =>
    mean({ alone: true, write: (g, loss, names) => mapped(gradients(g, loss(), names), (v) => g.map("Abs", v)) }),
  gradientSquare: ({ mean }) =>
    mean({ alone: true, write: (g, loss, names) => mapped(gradients(g, loss(), names), (v) => g.square(v)) }),
  hessianDiagonal: ({ mean, source }) =>
    mean({
      write: (g, loss, names) => {
        const { products, directions } = hessianTimes(g, loss(), names);
        return new Map([...products].map(([name, value]) => [name, g.mul(value, directions.get(name) ?? value)]));
      },
      beside: { prefix: direction, make: (name, shape, batch) => signs(shape, source.split(name, batch)) },
    }),
  hessianGradient: async ({ mean }) => {
    const first = await mean({ write: (g, loss, names) => gradients(g, loss(graspTemperature), names) });
    const unit = unitLength(first);
    return mean({
      write: (g, loss, names) => hessianTimes(g, loss(graspTemperature), names).products,
      beside: {
        prefix: direction,
        make: (name, shape) => float32Tensor(shape, unit.get(name) ?? new Float32Array(sizeOf(shape))),
      },
    });
  },
};

/**
 * Measures gradients of parameters over a data set. The loss is the cross-entropy with the labels of the data, or with the
 * model's own most likely classes where it has none. Throws `gradient` where an operator on the way has no gradient.
 */
export async function collectGradients(
  runtime: Runtime,
  graph: Graph,
  parameters: readonly string[],
  needs: readonly GradientNeed[],
  data: Dataset,
  options: GradientOptions,
): Promise<ReadonlyMap<string, GradientStatistics>> {
  const found = new Map<string, { -readonly [N in GradientNeed]?: Float32Array }>(parameters.map((name) => [name, {}]));
  const source = random(options.seed ?? 0, "hutchinson");
  for (const need of needs) {
    const mean: Measuring["mean"] = (pass) =>
      gradientPass(runtime, graph, parameters, data, pass, { ...options, detail: need });
    for (const [name, values] of await measurements[need]({ mean, source })) {
      const entry = found.get(name);
      if (entry !== undefined) entry[need] = values;
    }
  }
  return found;
}

/** As float32, whatever the type of the parameter is: few devices compute in bfloat16. */
function gradients(g: Algebra, loss: Value, names: readonly string[]): ReadonlyMap<string, Value> {
  return mapped(gradient(g, loss, names, { unreached: "zero" }), (value) => g.cast(value, "f32"));
}

function mapped(values: ReadonlyMap<string, Value>, f: (value: Value) => Value): ReadonlyMap<string, Value> {
  return new Map([...values].map(([name, value]) => [name, f(value)]));
}

/** H·v with directions v that are fed: the gradient of the product of the gradient with v. */
function hessianTimes(
  g: Algebra,
  loss: Value,
  names: readonly string[],
): { readonly products: ReadonlyMap<string, Value>; readonly directions: ReadonlyMap<string, Value> } {
  const first = gradients(g, loss, names);
  const directions = new Map(
    [...first].map(([name, value]) => [name, g.input(`${direction}${name}`, "f32", value.shape)] as const),
  );
  const along = [...first].map(([name, value]) => g.sum(g.mul(value, directions.get(name) ?? value)));
  return { products: gradients(g, g.total(along), names), directions };
}

function signs(shape: readonly number[], source: Random): HostTensor {
  const values = new Float32Array(sizeOf(shape));
  source.fillUniform(values, -1, 1);
  return float32Tensor(
    shape,
    values.map((value) => (value < 0 ? -1 : 1)),
  );
}

/** All together of length 1, so that what they are multiplied with neither vanishes nor overflows. */
function unitLength(vectors: ReadonlyMap<string, Float32Array>): ReadonlyMap<string, Float32Array> {
  let sum = 0;
  for (const values of vectors.values()) for (const value of values) sum += value * value;
  const norm = Math.sqrt(sum) || 1;
  return new Map([...vectors].map(([name, values]) => [name, values.map((value) => value / norm)]));
}
