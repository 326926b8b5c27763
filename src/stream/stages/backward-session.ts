import { gradient } from "../../autodiff/gradient.ts";
import { sized } from "../../autodiff/sized.ts";
import { type Algebra, algebra, type Value } from "../../graph/algebra/algebra.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph, TensorType } from "../../graph/graph.ts";
import { removeDeadCode } from "../../graph/passes/dead-code.ts";
import type { RunMemory, Runtime, Session } from "../../runtime/runtime.ts";
import { taskLoss } from "../../train/objectives/task-loss.ts";
import type { PlacedStage } from "./stage-kinds.ts";

/** What is summed over windows of the gradient g of each weight. */
export type GradientNeed = "gradient" | "gradientMagnitude" | "gradientSquare";

const summand: { readonly [N in GradientNeed]: (g: Algebra, value: Value) => Value } = {
  gradient: (_, value) => value,
  gradientMagnitude: (g, value) => g.map("Abs", value),
  gradientSquare: (g, value) => g.square(value),
};

/** A stage that takes what came in and the gradient of what it makes, and gives the gradient of what came in. */
export interface BackwardGraph {
  readonly graph: Graph;
  readonly types: ReadonlyMap<string, TensorType>;
  /** Inputs for parameters, as float32, by the names of the first stage of the kind. */
  readonly parameters: ReadonlyMap<string, string>;
  /** The gradient of what the stage makes; of the last stage: the labels, i32 [tokens]. */
  readonly upstream: string;
  /** The gradient of what came in. */
  readonly downstream: string;
  /** Sums that are carried from window to window, by parameter of the first stage: input and output. */
  readonly sums: ReadonlyMap<string, { readonly input: string; readonly output: string }>;
}

/** The same, compiled. */
export interface BackwardSession extends Omit<BackwardGraph, "graph" | "types"> {
  readonly session: Session;
}

/**
 * Writes the backward pass of a stage for windows of `time` tokens, one at a time: sums of `need` are carried for
 * these parameters. Where the stage is the last, the loss is the mean over tokens of −log p of the next.
 */
export async function backwardGraph(
  runtime: Runtime,
  { kind, stage }: PlacedStage,
  width: number,
  time: number,
  parameters: ReadonlySet<string>,
  need: GradientNeed,
): Promise<BackwardGraph> {
  const draft = edit(kind.graph);
  const types = new Map<string, TensorType>([[stage.input.name, { dtype: "f32", shape: [1, time, width] }]]);
  const inputs = new Map<string, string>();
  for (const [i, name] of kind.tensors.entries()) {
    const ref = kind.graph.constants.get(name);
    if (ref === undefined) continue;
    const input = draft.input(draft.fresh(`parameter.${i}`), "f32", ref.shape);
    // Where a parameter is stored otherwise, all that reads it is its cast to float32.
    const casts = ref.dtype === "f32" ? [] : draft.consumers(name);
    if (casts.length === 0) draft.replaceUses(name, input);
    for (const { outputs } of casts) draft.replaceUses(outputs[0] ?? "", input);
    draft.removeConstant(name);
    inputs.set(name, input);
    types.set(input, { dtype: "f32", shape: ref.shape });
  }
  const g = algebra(await sized(removeDeadCode(draft.finish()), runtime, types));
  const made = g.of(stage.output.name);
  const isLast = stage.role === "head";
  const upstream = isLast ? g.input("labels", "i32", [time]) : g.input("upstream", "f32", made.shape);
  const loss = isLast ? taskLoss(g, made, upstream) : g.sum(g.mul(made, upstream));
  const wanted = [...inputs].filter(([name]) => parameters.has(name));
  const found = gradient(g, loss, [stage.input.name, ...wanted.map(([, input]) => input)], { unreached: "zero" });
  const sums = new Map<string, { readonly input: string; readonly output: string }>();
  for (const [name, input] of wanted) {
    const slope = found.get(input);
    if (slope === undefined) continue;
    const before = g.input(g.draft.fresh("sum"), "f32", slope.shape);
    sums.set(name, { input: before.name, output: g.add(before, summand[need](g, slope)).name });
  }
  // A value of its own, whatever the gradient of what came in is called.
  const down = g.op("Identity", [found.get(stage.input.name) ?? made], {}, { dtype: "f32", shape: [1, time, width] });
  const outputs = [down.name, ...[...sums.values()].map(({ output }) => output)];
  const finished = g.finish();
  const whole = removeDeadCode({
    ...finished.graph,
    outputs: outputs.map((name) => ({ name, dtype: "f32" as const })),
    valueInfo: new Map(),
  });
  const used = new Set(whole.nodes.flatMap((node) => node.inputs));
  const fed = { ...whole, inputs: whole.inputs.filter(({ name }) => used.has(name)) };
  return {
    graph: fed,
    types: finished.types,
    parameters: new Map([...inputs].filter(([, input]) => used.has(input))),
    upstream: upstream.name,
    downstream: down.name,
    sums,
  };
}

/** Compiles what `backwardGraph` writes. */
export async function backwardSession(
  runtime: Runtime,
  memory: RunMemory,
  ...stage: StageAndNeeds
): Promise<BackwardSession> {
  const { graph, types: _, ...names } = await backwardGraph(runtime, ...stage);
  return { session: await runtime.compile(graph, { memory }), ...names };
}

type StageAndNeeds = Parameters<typeof backwardGraph> extends [Runtime, ...infer Rest] ? Rest : never;
