import { type CostModel, costModel } from "../cost/cost.ts";
import { type Coupling, type CouplingFacts, couple, sizeValues } from "../coupling/couple.ts";
import { type Matrix, matrices } from "../coupling/matrices.ts";
import type { Graph, TensorType, ValueInfo } from "../graph/graph.ts";
import { integerValues } from "../graph/passes/specialise.ts";
import { evaluate } from "../runtime/evaluate.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { formatShape, type HostTensor, load, sameShape } from "../tensor/tensor.ts";

/** Everything that pruning needs to know of a model before it looks at data. */
export interface Analysis {
  readonly graph: Graph;
  /** Input types at which it was analysed. */
  readonly inputs: ReadonlyMap<string, TensorType>;
  /** Samples in a batch of the analysis; costs are divided by it. */
  readonly samples: number;
  readonly facts: CouplingFacts;
  readonly coupling: Coupling;
  readonly matrices: readonly Matrix[];
  readonly cost: CostModel;
}

export interface AnalysisOptions {
  /** Sizes of inputs that the file leaves open, by input name. */
  readonly shapes?: ReadonlyMap<string, readonly number[]> | undefined;
  /** Outputs whose axes may be cut. */
  readonly freeOutputs?: ReadonlySet<string>;
}

/** Sizes tried for a dynamic dimension that nobody fixed: the first that is a batch, then others; never 1, no two equal. */
const BATCH_SIZES = [2, 3] as const;
const OPEN_SIZES = [64, 96] as const;

/** Learns types, sizes, coupling and cost of a graph by compiling it, twice when it has dynamic dimensions. */
export async function analyse(graph: Graph, runtime: Runtime, options: AnalysisOptions = {}): Promise<Analysis> {
  checkNames(graph, options.shapes);
  const first = inputTypes(graph, options.shapes, 0);
  const second = inputTypes(graph, options.shapes, 1);
  const types = new Map(await runtime.types(graph, first));
  for (const [name, ref] of graph.constants) types.set(name, { dtype: ref.dtype, shape: ref.shape });
  for (const [name, type] of first) types.set(name, type);
  const dynamic = graph.inputs.some(
    ({ name }) => !sameShape(first.get(name)?.shape ?? [], second.get(name)?.shape ?? []),
  );
  const otherShapes = new Map<string, readonly number[]>();
  if (dynamic) {
    for (const [name, type] of await runtime.types(graph, second)) otherShapes.set(name, type.shape);
    for (const [name, type] of second) otherShapes.set(name, type.shape);
  }
  const values = new Map<string, HostTensor>(
    await integerValues(graph, types, (part, names) => evaluate(runtime, part, names)),
  );
  for (const [name, ref] of graph.constants) if (ref.resident !== undefined) values.set(name, await load(ref));
  const facts: CouplingFacts = { types, values, sizes: sizeValues(graph, values), otherShapes };
  const coupling = couple(graph, facts, options.freeOutputs === undefined ? {} : { freeOutputs: options.freeOutputs });
  const samples = batchOf(graph, first);
  return {
    graph,
    inputs: first,
    samples,
    facts,
    coupling,
    matrices: matrices(graph, coupling, facts),
    cost: costModel(graph, coupling, facts, samples),
  };
}

function checkNames(graph: Graph, shapes: AnalysisOptions["shapes"]): void {
  const names = graph.inputs.map((info) => info.name);
  for (const name of shapes?.keys() ?? []) {
    if (names.includes(name)) continue;
    const hint = didYouMean(name, names) || `The inputs are ${names.slice(0, 5).join(", ")}.`;
    throw new EspalierError("request", `--shape ${name}`, "expected the name of a model input.", hint);
  }
}

/** Concrete types of all inputs. `round` 0 and 1 differ in every dimension that is open. */
function inputTypes(graph: Graph, shapes: AnalysisOptions["shapes"], round: 0 | 1): ReadonlyMap<string, TensorType> {
  const symbols = new Map<string, number>();
  const types = new Map<string, TensorType>();
  let open = 0;
  for (const info of graph.inputs) {
    if (info.dtype === null) continue;
    const given = shapes?.get(info.name);
    const dims = info.dims ?? given;
    if (dims === undefined) {
      throw new EspalierError(
        "request",
        `input ${info.name}`,
        "expected a known number of dimensions, got none in the file.",
        `Give its shape: --shape ${info.name}=1x3x224x224.`,
      );
    }
    if (given !== undefined && given.length !== dims.length) {
      throw new EspalierError(
        "request",
        `--shape ${info.name}`,
        `expected ${dims.length} dimensions as in ${formatShape(dims)}, got ${formatShape(given)}.`,
      );
    }
    const shape = dims.map((dim, axis) => {
      if (typeof dim === "number" && dim > 0) return dim;
      const asked = given?.[axis];
      const symbol = typeof dim === "string" && dim !== "" ? dim : `${info.name}.${axis}`;
      // A size of 1 would make the axis vanish from broadcasting rules; batches of one are analysed as two.
      if (axis > 0 && asked !== undefined && asked > 0) return asked;
      const known = symbols.get(symbol);
      if (known !== undefined) return known;
      const size = axis === 0 ? BATCH_SIZES[round] : OPEN_SIZES[round] + 32 * open++;
      symbols.set(symbol, size);
      return size;
    });
    types.set(info.name, { dtype: info.dtype, shape });
  }
  return types;
}

/** Size of axis 0 of the first input that has one, where the file leaves it open; else what the file says. */
function batchOf(graph: Graph, inputs: ReadonlyMap<string, TensorType>): number {
  const first: ValueInfo | undefined = graph.inputs.find((info) => (inputs.get(info.name)?.shape.length ?? 0) > 0);
  return inputs.get(first?.name ?? "")?.shape[0] ?? 1;
}
