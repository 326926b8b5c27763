import type { Checkpoint } from "../../formats/checkpoint/open.ts";
import { builder } from "../../graph/builder.ts";
import type { Graph, ValueInfo } from "../../graph/graph.ts";
import { renameAll } from "../../graph/rename.ts";
import { EspalierError } from "../../tensor/error.ts";
import { architectures } from "../architectures/registry.ts";
import type { Architecture, Kind, Outline, Write } from "./architecture.ts";
import { type Feeding, Frame } from "./frame.ts";
import { type BlockBranch, type Mixture, type NormedMatrix, Site, writingInto } from "./site.ts";
import type { Size } from "./size.ts";

/** A part of a model that is run at once: the embedding, a block, or the head. */
export interface Stage {
  /** Where its parameters lie, or what it is. */
  readonly name: string;
  readonly role: "embedding" | "block" | "head";
  /** Number of the block; absent for the others. */
  readonly block?: number;
  /** Its parameters by their names in the checkpoint, with their sizes as the config states them. */
  readonly parameters: ReadonlyMap<string, readonly Size[]>;
  /** Those of them that decide which expert a token goes to. */
  readonly routers: ReadonlySet<string>;
  /** Where its tokens find their experts, by values of `graph("tokens")`; absent where it has none. */
  readonly mixture?: Mixture;
  /** What of it can go alone, in order, by values of `graph("tokens")`. */
  readonly branches: readonly BlockBranch[];
  /** Norms in it of what one matrix makes for them alone, by their gains. */
  readonly norms: ReadonlyMap<string, NormedMatrix>;
  /** What it takes first, `input_ids` or `hidden`, and what it gives, `hidden_out` or `logits`. */
  readonly input: ValueInfo;
  readonly output: ValueInfo;
  /**
   * The stage as a graph of its own. Its parameters are constants under the checkpoint's names, which stay in their files.
   * Stages of the same kind have the same graph but for these names.
   */
  graph(feeding?: Feeding): Graph;
}

/** All stages of a model in one graph. */
export interface WholeGraph {
  readonly graph: Graph;
  /** The values between stages: what each stage gives, in order. */
  readonly boundaries: readonly string[];
}

/** A checkpoint as a model: an ordered list of stages over its tensors. */
export interface CheckpointModel {
  readonly name: string;
  readonly checkpoint: Checkpoint;
  /** `model_type` of its config. */
  readonly type: string;
  readonly kind: Kind;
  readonly outline: Outline;
  readonly stages: readonly Stage[];
  /** Sizes of every parameter that a stage reads. */
  readonly parameters: ReadonlyMap<string, readonly Size[]>;
  /** The whole model: `input_ids` i64 [batch, time], and what `feeding` adds, to `logits`. */
  graph(feeding?: Feeding): WholeGraph;
}

/** Version of ai.onnx in which the graphs are written: the first that has RMSNormalization and RotaryEmbedding. */
const opset = 23;

/**
 * Makes a model of a checkpoint by its model_type, and holds every tensor that it needs against the config. Throws
 * `request` for a model_type that is not known, `format` where config and tensors contradict each other.
 */
export function checkpointModel(checkpoint: Checkpoint): CheckpointModel {
  const type = String(checkpoint.config["model_type"] ?? "none");
  const found = architectures.find(({ types }) => types.includes(type));
  if (found === undefined) throw unknown(checkpoint.name, type);
  refuseQuantised(checkpoint);
  const outline = found.outline(checkpoint.config, checkpoint.name, (name) => checkpoint.tensors.has(name));
  const ends = endsOf(found, outline);
  const hidden = (name: string): ValueInfo => ({ name, dtype: "f32", dims: ["batch", "time", outline.width] });
  const stage = (role: Stage["role"], name: string, write: Write, block?: number): Stage => {
    const input = role === "embedding" ? ends.input : hidden("hidden");
    const output = role === "head" ? ends.output : hidden("hidden_out");
    const build = (feeding: Feeding) => alone(checkpoint, { name, input, output, write, feeding });
    const { graph: _, ...held } = build("tokens");
    const numbered = block === undefined ? {} : { block };
    return { name, role, ...numbered, input, output, ...held, graph: (feeding = "tokens") => build(feeding).graph };
  };
  const stages = [
    stage("embedding", "embedding", outline.embed),
    ...outline.blocks.map(({ path, write }, block) => stage("block", path, write, block)),
    stage("head", "head", outline.head),
  ];
  const writes = [outline.embed, ...outline.blocks.map(({ write }) => write), outline.head];
  return {
    name: checkpoint.name,
    checkpoint,
    type,
    kind: found.kind,
    outline,
    stages,
    parameters: new Map(stages.flatMap((one) => [...one.parameters])),
    graph: (feeding = "tokens") => chained(checkpoint, { ends, writes, feeding, hidden }),
  };
}

interface Ends {
  readonly input: ValueInfo;
  readonly output: ValueInfo;
}

function endsOf({ kind }: Architecture, { width, vocabulary, picture }: Outline): Ends {
  const input: ValueInfo =
    picture === undefined
      ? { name: "input_ids", dtype: "i64", dims: ["batch", "time"] }
      : { name: "pixel_values", dtype: "f32", dims: ["batch", picture.channels, picture.size, picture.size] };
  const output: ValueInfo =
    kind === "decoder"
      ? { name: "logits", dtype: "f32", dims: ["batch", "time", vocabulary] }
      : { name: "last_hidden_state", dtype: "f32", dims: ["batch", "time", width] };
  return { input, output };
}

interface Alone extends Ends {
  readonly name: string;
  readonly write: Write;
  readonly feeding: Feeding;
}

function alone(
  checkpoint: Checkpoint,
  { name, input, output, write, feeding }: Alone,
): Pick<Stage, "parameters" | "routers" | "norms" | "mixture" | "branches"> & { readonly graph: Graph } {
  const draft = builder(name, opset);
  const writing = writingInto(draft, checkpoint);
  const site = new Site(writing);
  const first = draft.input(input.name, input.dtype, input.dims);
  const last = write(site, new Frame(site, first, feeding), first);
  draft.output(last, output.dtype, output.dims);
  const graph = renameAll(draft.finish(), new Map([[last, draft.fresh(output.name)]]), (prefix) => draft.fresh(prefix));
  const { parameters, routers, norms, mixtures } = writing;
  const [mixture] = mixtures;
  const branches = writing.branches.map((each) => (each.sum === last ? { ...each, sum: output.name } : each));
  return { graph, parameters, routers, norms, branches, ...(mixture === undefined ? {} : { mixture }) };
}

interface Chain {
  readonly ends: Ends;
  readonly writes: readonly Write[];
  readonly feeding: Feeding;
  readonly hidden: (name: string) => ValueInfo;
}

function chained(checkpoint: Checkpoint, { ends, writes, feeding, hidden }: Chain): WholeGraph {
  const draft = builder(checkpoint.name, opset);
  const site = new Site(writingInto(draft, checkpoint));
  const first = draft.input(ends.input.name, ends.input.dtype, ends.input.dims);
  const frame = new Frame(site, first, feeding);
  const names = new Map<string, string>();
  let x = first;
  for (const [i, write] of writes.entries()) {
    x = write(site, frame, x);
    const isLast = i === writes.length - 1;
    names.set(x, draft.fresh(isLast ? ends.output.name : `hidden.${i}`));
    if (!isLast) draft.setType(x, hidden(x));
  }
  draft.output(x, ends.output.dtype, ends.output.dims);
  // What a caller asks for comes first, then what the caches give.
  const graph = renameAll(draft.finish(), names, (prefix) => draft.fresh(prefix));
  const answer = graph.outputs.filter(({ name }) => name === ends.output.name);
  const rest = graph.outputs.filter(({ name }) => name !== ends.output.name);
  return { graph: { ...graph, outputs: [...answer, ...rest] }, boundaries: [...names.values()] };
}

/** Packed weights have other names and shapes, so that nothing else would say what is wrong. */
function refuseQuantised({ name, config }: Checkpoint): void {
  const quantisation = config["quantization_config"];
  if (typeof quantisation !== "object" || quantisation === null) return;
  const method: unknown = new Map(Object.entries(quantisation)).get("quant_method");
  const message = `expected weights that are not quantised, got ${String(method ?? "some that are")}.`;
  throw new EspalierError(
    "request",
    `${name}/config.json: quantization_config`,
    message,
    "Give the original checkpoint.",
  );
}

function unknown(name: string, type: string): EspalierError {
  const known = architectures.flatMap(({ types }) => types);
  const hint =
    "Export it to ONNX (optimum-cli export onnx --model FOLDER OUT), which espalier prunes whatever its architecture.";
  return new EspalierError(
    "request",
    `${name}/config.json: model_type`,
    `expected one of ${known.join(", ")}, got "${type}".`,
    hint,
  );
}
