import type { Matrix } from "../coupling/matrices.ts";
import type { Graph, TensorType } from "../graph/graph.ts";
import { useDef } from "../graph/uses.ts";
import type { Analysis } from "../models/analysis.ts";
import type { LinearForm } from "../ops/linear.ts";
import { isFloat } from "../tensor/dtype.ts";
import { formOf } from "./taps/unfold.ts";

/** A trained matrix with one input and one output, as recoveries repair it. */
export interface Layer {
  readonly matrix: Matrix;
  readonly form: LinearForm;
  /** The value that its columns multiply, and what it gives. */
  readonly input: string;
  readonly output: string;
  /** Axis of the output that counts rows. */
  readonly axis: number;
  readonly outputType: TensorType;
}

/**
 * True for a matrix whose numbers nothing else reads: changing it changes nothing besides. The head of a language model that is
 * its table of embeddings too is not alone.
 */
export function isAlone(graph: Graph, { parameter, node }: Pick<Matrix, "parameter" | "node">): boolean {
  const uses = useDef(graph);
  const [end = ""] = node.outputs;
  for (let value = parameter; ; ) {
    const [reader, ...others] = uses.consumers(value);
    if (reader === undefined || others.length > 0 || uses.isOutput(value)) return false;
    const [next = ""] = reader.node.outputs;
    if (next === end) return true;
    value = next;
  }
}

/** The matrices that recoveries can repair, in the order in which data passes them. */
export function layersOf(analysis: Analysis): readonly Layer[] {
  const uses = new Map<string, number>();
  for (const { parameter } of analysis.matrices) uses.set(parameter, (uses.get(parameter) ?? 0) + 1);
  const found: Layer[] = [];
  for (const matrix of analysis.matrices) {
    const form = formOf(matrix);
    const output = matrix.node.outputs[0] ?? "";
    const outputType = analysis.facts.types.get(output);
    const dtype = analysis.graph.constants.get(matrix.parameter)?.dtype;
    if (form === null || matrix.data === null || outputType === undefined || dtype === undefined) continue;
    const input = analysis.facts.types.get(matrix.data.value);
    // A parameter that is used twice has no single input to fit; one that is not two axes and a window is no matrix here.
    if (uses.get(matrix.parameter) !== 1 || !isFloat(dtype) || !isFloat(outputType.dtype) || input === undefined)
      continue;
    if (matrix.outputs.length + matrix.inputs.length !== matrix.shape.length) continue;
    if (!form.window && input.shape.length !== outputType.shape.length) continue;
    const axis = form.outputAxis(outputType.shape.length);
    found.push({ matrix, form, input: matrix.data.value, output, axis, outputType });
  }
  return found;
}
