import type { Matrix } from "../../coupling/matrices.ts";
import type { Graph, Node } from "../../graph/graph.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromFloats } from "../../tensor/numeric.ts";
import { type Random, random } from "../../tensor/random.ts";
import { refOf, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import { type ParameterRole, parameterRoles } from "./parameter-roles.ts";

/**
 * How trained matrices are drawn. Of variance 2/fanIn (kaiming) or 2/(fanIn + fanOut) (xavier), normal or uniform; with
 * a fixed standard deviation; or as PyTorch's modules do by default: uniform within ±1/√fanIn, biases too, a recurrent
 * layer within ±1/√hidden, embeddings of deviation 1. Fans count kernel positions, and of groups only their own channels.
 */
export type InitialisationScheme =
  | "kaiming-normal"
  | "kaiming-uniform"
  | "xavier-normal"
  | "xavier-uniform"
  | "pytorch"
  | { readonly sd: number };

export interface InitialisationOptions {
  readonly seed: number;
  readonly scheme?: InitialisationScheme;
  /** Parameters that no role names, such as positions of a transformer, and the deviation to draw each with. */
  readonly normal?: ReadonlyMap<string, number>;
}

export interface Initialised {
  readonly graph: Graph;
  /** Float constants of more than one element that have no known role and kept their values. */
  readonly kept: readonly string[];
}

/** What is drawn: normal of a deviation, uniform within a bound, or one value everywhere. */
type Draw = { readonly sd: number } | { readonly bound: number } | { readonly value: number };

/**
 * The graph with all of its parameters drawn anew, by what operators do with them: matrices by their fans, biases and
 * shifts 0, scales 1, running means 0, running variances 1. Every parameter has a stream of its own, decided by the
 * seed and its name. Matrices are those of the graph's analysis, so a cut graph is drawn by its own fans.
 */
export function initialise(
  graph: Graph,
  matrices: readonly Matrix[],
  { seed, scheme = "kaiming-normal", normal = new Map() }: InitialisationOptions,
): Initialised {
  for (const name of normal.keys()) if (!graph.constants.has(name)) throw unknownParameter(name);
  const roles = parameterRoles(graph, matrices);
  const fans = fansByNode(matrices);
  const constants = new Map(graph.constants);
  const kept: string[] = [];
  for (const [name, ref] of graph.constants) {
    const [role, sd] = [roles.get(name), normal.get(name)];
    if (sd !== undefined) constants.set(name, drawn(ref, { sd }, random(seed, "initialise", name)));
    else if (role !== undefined)
      constants.set(name, drawn(ref, drawOf(role, fans, scheme), random(seed, "initialise", name)));
    else if (isFloat(ref.dtype) && sizeOf(ref.shape) > 1) kept.push(name);
  }
  return { graph: { ...graph, constants }, kept };
}

interface Fans {
  readonly into: number;
  readonly out: number;
  /** Width of the state that a recurrent layer feeds back to itself. */
  readonly state?: number;
}

function fansByNode(matrices: readonly Matrix[]): ReadonlyMap<Node, Fans> {
  const found = new Map<Node, Fans>();
  for (const matrix of matrices) {
    const state = matrix.data === null ? matrix.columns : found.get(matrix.node)?.state;
    const own = matrix.data === null ? found.get(matrix.node) : undefined;
    found.set(matrix.node, { ...(own ?? fansOf(matrix)), ...(state === undefined ? {} : { state }) });
  }
  return found;
}

function fansOf({ rows, columns, groups, inputs, shape }: Matrix): Fans {
  const positions = sizeOf(inputs.slice(1).map((axis) => shape[axis] ?? 1));
  return { into: columns, out: (rows / groups) * positions };
}

function drawOf(role: ParameterRole, fans: ReadonlyMap<Node, Fans>, scheme: InitialisationScheme): Draw {
  switch (role.kind) {
    case "matrix":
      return matrixDraw(role.matrix, fans, scheme);
    case "bias": {
      const fan = scheme === "pytorch" && role.of !== null ? fans.get(role.of) : undefined;
      return fan === undefined ? { value: 0 } : { bound: 1 / Math.sqrt(fan.state ?? fan.into) };
    }
    case "table":
      return typeof scheme === "object" ? scheme : { sd: scheme === "pytorch" ? 1 : 0.02 };
    case "scale":
    case "variance":
      return { value: 1 };
    case "shift":
    case "mean":
      return { value: 0 };
  }
}

function matrixDraw(matrix: Matrix, fans: ReadonlyMap<Node, Fans>, scheme: InitialisationScheme): Draw {
  if (typeof scheme === "object") return scheme;
  const { into, out } = fansOf(matrix);
  switch (scheme) {
    case "kaiming-normal":
      return { sd: Math.sqrt(2 / into) };
    case "kaiming-uniform":
      return { bound: Math.sqrt(6 / into) };
    case "xavier-normal":
      return { sd: Math.sqrt(2 / (into + out)) };
    case "xavier-uniform":
      return { bound: Math.sqrt(6 / (into + out)) };
    case "pytorch":
      return { bound: 1 / Math.sqrt(fans.get(matrix.node)?.state ?? into) };
  }
}

function drawn({ dtype, shape }: TensorRef, draw: Draw, stream: Random): TensorRef {
  if (!isFloat(dtype)) throw new EspalierError("model", "initialise", `expected a float parameter, got ${dtype}.`);
  const values = new Float32Array(sizeOf(shape));
  if ("sd" in draw) stream.fillNormal(values, 0, draw.sd);
  else if ("bound" in draw) stream.fillUniform(values, -draw.bound, draw.bound);
  else values.fill(draw.value);
  return refOf(fromFloats(dtype, shape, values));
}

function unknownParameter(name: string): EspalierError {
  return new EspalierError("request", `parameter "${name}"`, "expected a parameter of the graph, got none.");
}
