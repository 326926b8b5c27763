import { gradient } from "../autodiff/gradient.ts";
import { blockChannels, composeAll } from "../autodiff/lower.ts";
import { type Algebra, algebra, type SizedGraph, type Value } from "../graph/algebra/algebra.ts";
import type { Feeds, Graph } from "../graph/graph.ts";
import { removeDeadCode } from "../graph/passes/dead-code.ts";
import { bitsOf } from "../tensor/dtype.ts";
import { EspalierError } from "../tensor/error.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { type HostTensor, sizeOf, type TensorRef } from "../tensor/tensor.ts";
import type { Optimiser } from "./optimisers/optimiser.ts";
import { type StepState, stepState } from "./step-state.ts";
import { macsOf } from "./work.ts";

/** Parameters that are updated alike. */
export interface ParameterGroup {
  readonly parameters: readonly string[];
  readonly optimiser: Optimiser;
  /** Factor on the learning rate of the step; default 1. */
  readonly rate?: number;
  /** Climbs the loss instead of descending: the other player of a min-max problem. */
  readonly ascent?: boolean;
}

/** What a loss is written with: the model at its sizes, in training form, and more inputs where it needs them. */
export interface LossContext {
  readonly g: Algebra;
  /** Outputs of the model, in their order. */
  readonly outputs: readonly Value[];
  /** Any value of the model; a parameter is what the model computes with (masked, say). */
  of(name: string): Value;
  /** An input that the data fills at each step: labels, targets. */
  input(name: string, dtype: Value["dtype"], shape: readonly number[]): Value;
  /** A number that the host gives at each step, f32 []. */
  number(name: string): Value;
}

/** A loss, and what else of it is worth a curve. */
export type Objective = (context: LossContext) => Value | Objectives;

export interface Objectives {
  readonly loss: Value;
  readonly reports: Readonly<Record<string, Value>>;
}

/** Everything that decides what one train step computes. */
export interface StepDefinition {
  /** The forward pass at the size of a batch. */
  readonly model: SizedGraph;
  readonly loss: Objective;
  readonly groups: readonly ParameterGroup[];
  /** The runtime's `channelBlock`: the step is put together for such a processor alone. Default 0: for any. */
  readonly channelBlock?: number;
  /** Rewrites the model for training first; gives what constants become after the step (running statistics). */
  readonly prepare?: (g: Algebra) => ReadonlyMap<string, Value>;
  /** Masks by parameter, 1 keeps: the model computes with the product, and what is masked stays zero in every respect. */
  readonly masks?: ReadonlyMap<string, HostTensor>;
  /** Most that the norm of all gradients together may be. */
  readonly clip?: number;
  /** Batches whose mean gradient makes one update; default 1. */
  readonly accumulate?: number;
  /** Keeps a running mean of the parameters, which forgets at this rate per step (0.999, say). */
  readonly average?: number;
  /** Changes gradients before they are used. */
  readonly editGradients?: (g: Algebra, gradients: ReadonlyMap<string, Value>) => ReadonlyMap<string, Value>;
  /** Changes parameters after the update, before masks: shrinks, projects, clamps. Gives those that it changes. */
  readonly afterUpdate?: (
    g: Algebra,
    next: ReadonlyMap<string, Value>,
    numbers: (name: string) => Value,
  ) => ReadonlyMap<string, Value>;
}

/** One step as a graph: state in, state out. */
export interface TrainStep {
  readonly graph: Graph;
  /** Inputs that the data fills. */
  readonly data: readonly string[];
  /** Inputs fed from the state, and outputs that go there, by the names that they have in it. */
  readonly reads: ReadonlyMap<string, string>;
  readonly writes: ReadonlyMap<string, string>;
  /** What the state holds before the first step. */
  readonly initial: ReadonlyMap<string, HostTensor | TensorRef>;
  /** Outputs with a number to report, by its name; "loss" is always there. */
  readonly reports: ReadonlyMap<string, string>;
  /** The output that is finite where the loss and all gradients are. */
  readonly guard: string;
  /** What the host feeds at a step, counted from 1. `extra` gives the numbers that the loss or a hook asked for. */
  numbers(step: number, rate: number, extra?: (name: string) => number): Feeds;
  readonly work: { readonly forwardMacs: number; readonly backwardMacs: number };
}

/** Name of a tensor of the state that belongs to a parameter. */
export const slotName = (kind: string, parameter: string): string => `${kind}:${parameter}`;

/** Whether a step only adds its gradients to a sum, or uses the sum and updates. */
type Phase = "accumulate" | "update";

/**
 * Builds a train step: forward, loss, gradients and update in one graph. Parameters, what optimisers remember, masks and
 * running statistics are inputs and outputs, so that the state can be fed back. With `accumulate`, one
 * step comes back for every batch: all but the last only gather gradients, and are the same. Throws `gradient` where something cannot be trained.
 */
export function trainSteps(definition: StepDefinition): readonly TrainStep[] {
  const { accumulate = 1 } = definition;
  const last = buildStep(definition, "update");
  if (accumulate === 1) return [last];
  return [...Array<TrainStep>(accumulate - 1).fill(buildStep(definition, "accumulate")), last];
}

/** A pass that looks at gradients of a state and changes nothing. */
export interface GradientProbe {
  readonly graph: Graph;
  readonly data: readonly string[];
  readonly reads: ReadonlyMap<string, string>;
  /** Outputs by parameter: the gradient at what the model computes with, masked weights included. */
  readonly gradients: ReadonlyMap<string, string>;
  readonly work: TrainStep["work"];
  numbers(step: number, rate: number, extra?: (name: string) => number): Feeds;
}

/**
 * Builds a probe of the same model, loss and state as the steps of a definition: gradients by parameters where their masked product is
 * read, so that weights which are masked now have one too (RigL's growth score).
 */
export function gradientProbe(definition: StepDefinition, parameters: readonly string[]): GradientProbe {
  const { site } = openSite(definition);
  const { g } = site;
  const { loss, data, effective } = writeLoss(site);
  const forwardMacs = macsOf(g, g.draft.nodes());
  const at = new Map(parameters.map((name) => [name, (effective.get(name) ?? g.of(name)).name]));
  const found = gradient(g, loss, at.values(), { unreached: "zero", channelBlock: definition.channelBlock ?? 0 });
  const values = new Map<string, Value>();
  for (const [name, where] of at) {
    const value = found.get(where);
    if (value !== undefined) values.set(name, g.cast(value, "f32"));
  }
  const guard = g.sum(loss);
  const step = assemble(site, { guard, data, forwardMacs, outputs: [...values.values()] });
  return {
    graph: step.graph,
    work: step.work,
    data: step.data,
    reads: step.reads,
    numbers: step.numbers,
    gradients: new Map([...values].map(([name, value]) => [name, value.name])),
  };
}

/**
 * Builds a step that tells the loss at the state of other steps of the same definition, and changes nothing. The model is
 * as it is used: norms have their running statistics, not those of the batch.
 */
export function lossStep({ prepare, ...definition }: StepDefinition): TrainStep {
  const { site } = openSite(definition);
  const { g, state } = site;
  for (const name of prepare?.(algebra(definition.model)).keys() ?? []) state.parameter(name);
  const { loss, data } = writeLoss(site);
  return assemble(site, { guard: g.sum(loss), data, forwardMacs: macsOf(g, g.draft.nodes()) });
}

/** What the parts of a step share while it is built. */
interface Site {
  readonly g: Algebra;
  readonly definition: StepDefinition;
  readonly state: StepState;
  readonly numbers: Numbers;
  readonly reports: Map<string, Value>;
}

function buildStep(definition: StepDefinition, phase: Phase): TrainStep {
  const { site, parameters, buffers } = openSite(definition);
  const { g, state } = site;
  const { loss, data } = writeLoss(site);
  const forwardMacs = macsOf(g, g.draft.nodes());
  const { gradients, guard } = writeGradients(site, loss, parameters);
  if (phase === "accumulate") for (const [name, sum] of gradients) state.write(slotName("gradient", name), sum);
  else writeUpdate(site, parameters, clipped(site, gradients));
  for (const [name, value] of buffers) state.write(name, value);
  return assemble(site, { guard, data, forwardMacs });
}

/** Starts writing: parameters and running statistics are inputs of the state from here on. */
function openSite(definition: StepDefinition) {
  const { model } = definition;
  const g = algebra(model);
  const state = stepState(g, model.graph.constants);
  const site: Site = { g, definition, state, numbers: numbersOf(g), reports: new Map() };
  const parameters = new Map(
    definition.groups.flatMap((group) => group.parameters.map((name) => [name, state.parameter(name)])),
  );
  const buffers = definition.prepare?.(g) ?? new Map<string, Value>();
  for (const name of buffers.keys()) state.parameter(name);
  return { site, parameters, buffers };
}

/** Masks the model and writes the loss behind it. */
function writeLoss({ g, definition, state, numbers, reports }: Site) {
  const { model, masks = new Map() } = definition;
  const outputs = model.graph.outputs.map(({ name }) => g.of(name));
  const effective = new Map<string, Value>();
  for (const [name, mask] of masks) effective.set(name, applyMask(g, name, state.slot(slotName("mask", name), mask)));
  const data = new Set(model.graph.inputs.map(({ name }) => name));
  const found = definition.loss({
    g,
    outputs,
    of: (name) => effective.get(name) ?? g.of(name),
    input: (name, dtype, shape) => {
      if (data.has(name)) return g.of(name);
      data.add(name);
      return g.input(name, dtype, shape);
    },
    number: numbers.of,
  });
  const { loss, reports: named } = "loss" in found ? found : { loss: found, reports: {} };
  reports.set("loss", loss);
  for (const [name, value] of Object.entries(named)) reports.set(name, value);
  return { loss, data: data, effective };
}

/** Gradients by parameter, the mean over accumulated batches; and a number that is finite where all of them are. */
function writeGradients({ g, definition, state }: Site, loss: Value, parameters: ReadonlyMap<string, Value>) {
  const { accumulate = 1 } = definition;
  const names = [...parameters.values()].map(({ name }) => name);
  const found = gradient(g, loss, names, { channelBlock: definition.channelBlock ?? 0 });
  const sizes = [...found.values()].map((value) => g.reduce("ReduceL1", value));
  const guard = g.add(g.sum(loss), g.mul(g.total(sizes), 0));
  const gradients = new Map<string, Value>();
  for (const [name, { name: input }] of parameters) {
    const value = found.get(input);
    if (value === undefined) continue;
    if (accumulate === 1) gradients.set(name, value);
    else gradients.set(name, g.add(state.slot(slotName("gradient", name), zerosLike(value)), g.div(value, accumulate)));
  }
  return { gradients, guard };
}

function clipped({ g, definition, reports }: Site, given: ReadonlyMap<string, Value>): ReadonlyMap<string, Value> {
  const { clip, editGradients } = definition;
  const gradients = editGradients?.(g, given) ?? given;
  if (clip === undefined) return gradients;
  const squares = [...gradients.values()].map((value) => g.reduce("ReduceSumSquare", value));
  const norm = g.sqrt(g.total(squares));
  reports.set("gradientNorm", norm);
  const factor = g.min(g.div(clip, g.add(norm, 1e-6)), 1);
  return new Map([...gradients].map(([name, value]) => [name, g.mul(value, factor)]));
}

function writeUpdate(site: Site, parameters: ReadonlyMap<string, Value>, gradients: ReadonlyMap<string, Value>): void {
  const { g, definition, state, numbers } = site;
  const { groups, masks = new Map(), average, accumulate = 1 } = definition;
  const maskOf = (name: string): Value | null => (masks.has(name) ? state.slot(slotName("mask", name)) : null);
  const masked = (name: string, value: Value): Value => {
    const mask = maskOf(name);
    return mask === null ? value : g.mul(value, mask);
  };
  const next = new Map<string, Value>();
  for (const [index, group] of groups.entries()) {
    for (const name of group.parameters) {
      const [parameter, raw] = [parameters.get(name), gradients.get(name)];
      if (parameter === undefined || raw === undefined) continue;
      const updated = group.optimiser.update(g, {
        parameter,
        gradient: group.ascent === true ? g.neg(raw) : raw,
        slot: (kind) => state.slot(slotName(kind, name), zerosLike(raw)),
        number: (kind) => numbers.of(`${index}/${kind}`),
      });
      next.set(name, updated.parameter);
      for (const [kind, value] of updated.slots) state.write(slotName(kind, name), masked(name, value));
    }
  }
  for (const [name, value] of definition.afterUpdate?.(g, next, numbers.of) ?? []) next.set(name, value);
  for (const [name, value] of next) {
    const final = masked(name, value);
    state.write(name, final);
    if (accumulate > 1) {
      const sum = state.slot(slotName("gradient", name));
      state.write(slotName("gradient", name), g.sub(sum, sum));
    }
    const first = state.initial.get(name);
    if (average === undefined || first === undefined) continue;
    const before = state.slot(slotName("average", name), first, final.dtype);
    state.write(slotName("average", name), g.add(g.mul(before, average), g.mul(final, 1 - average)));
  }
}

function assemble(
  { g, definition, state, numbers, reports }: Site,
  {
    guard,
    data,
    forwardMacs,
    outputs: more = [],
  }: { guard: Value; data: ReadonlySet<string>; forwardMacs: number; outputs?: readonly Value[] },
): TrainStep {
  composeAll(g);
  const asked = new Set([...state.writes.keys(), ...[...reports.values(), guard, ...more].map(({ name }) => name)]);
  const outputs = [...asked].map((name) => ({ name, dtype: g.of(name).dtype, dims: g.of(name).shape }));
  const written = (): Graph => removeDeadCode({ ...g.finish().graph, outputs, valueInfo: new Map() });
  const backwardMacs = macsOf(g, written().nodes) - forwardMacs;
  const { channelBlock = 0 } = definition;
  if (channelBlock > 0) blockChannels(g, channelBlock);
  const graph = written();
  const used = new Set(graph.nodes.flatMap(({ inputs }) => inputs));
  const inputs = graph.inputs.filter(({ name }) => used.has(name));
  const kept = new Set(inputs.map(({ name }) => name));
  const fed = [...numbers.inputs].filter(([, input]) => kept.has(input));
  return {
    graph: { ...graph, inputs },
    data: [...data].filter((name) => kept.has(name)),
    reads: new Map([...state.reads].filter(([name]) => kept.has(name))),
    writes: state.writes,
    initial: state.initial,
    reports: new Map([...reports].map(([name, value]) => [name, value.name])),
    guard: guard.name,
    numbers: (step, rate, extra = unknownNumber) =>
      new Map(
        fed.map(([name, input]) => {
          const value = numberOf(definition.groups, name, step, rate, extra);
          return [input, float32Tensor([], Float32Array.of(value))];
        }),
      ),
    work: { forwardMacs, backwardMacs },
  };
}

/** Numbers that the host feeds at each step, as inputs by name. */
interface Numbers {
  readonly inputs: ReadonlyMap<string, string>;
  of(name: string): Value;
}

function numbersOf(g: Algebra): Numbers {
  const inputs = new Map<string, string>();
  return {
    inputs,
    of: (name) => {
      const known = inputs.get(name);
      if (known !== undefined) return g.of(known);
      const made = g.input(g.draft.fresh(`number/${name}`), "f32", []);
      inputs.set(name, made.name);
      return made;
    },
  };
}

function numberOf(
  groups: readonly ParameterGroup[],
  name: string,
  step: number,
  rate: number,
  extra: (name: string) => number,
): number {
  const [index = "", kind = ""] = name.split("/");
  const group = groups[Number(index)];
  if (kind === "" || group === undefined) return extra(name);
  const own = rate * (group.rate ?? 1);
  return { rate: own, ...group.optimiser.numbers(step, own) }[kind] ?? extra(name);
}

function unknownNumber(name: string): never {
  throw new EspalierError("request", `number "${name}"`, "expected a value for every number of the step, got none.");
}

function zerosLike({ shape }: Value): HostTensor {
  return float32Tensor(shape, new Float32Array(sizeOf(shape)));
}

/** All present readers of a parameter read its product with the mask, which is given. Products of bfloat16 have no kernel. */
function applyMask(g: Algebra, name: string, mask: Value): Value {
  const readers = g.draft.consumers(name);
  const parameter = g.of(name);
  const computed = bitsOf(parameter.dtype) < 32 ? "f32" : parameter.dtype;
  const masked = g.cast(g.mul(g.cast(parameter, computed), g.cast(mask, computed)), parameter.dtype);
  g.draft.replaceUses(name, masked.name, { only: readers });
  return masked;
}
