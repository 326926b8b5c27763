import type { Graph } from "../../graph/graph.ts";
import { extract } from "../../graph/subgraph.ts";
import { type Analysis, analyse } from "../../models/analysis.ts";
import type { CheckpointModel, Stage } from "../../models/checkpoint/checkpoint-model.ts";
import { lifted } from "../../models/checkpoint/lift.ts";
import { castAfterLookup } from "../../ops/storage/cast-after-lookup.ts";
import type { RunMemory, Runtime, Session } from "../../runtime/runtime.ts";

/** A compiled graph that is fed the parameters of whatever stage of its kind. */
export interface StageSession {
  readonly session: Session;
  /** Inputs of the session and the parameters of the first stage of the kind that they stand for. */
  readonly reads: ReadonlyMap<string, string>;
}

/** Stages with the same graph but for the names of their parameters: analysed once and served by the same sessions. */
export interface StageKind {
  readonly first: Stage;
  /** The graph of the first of them. */
  readonly graph: Graph;
  /** The parameters of the first, in order. */
  readonly tensors: readonly string[];
  analysis(): Promise<Analysis>;
  /**
   * The session that gives these values of a graph that was made from `graph` by adding nodes. The first call under a name
   * compiles it; later ones have to come with the same graph.
   */
  session(name: string, graph: Graph, outputs: readonly string[]): Promise<StageSession>;
}

/** A stage among its kind. */
export interface PlacedStage {
  readonly stage: Stage;
  readonly kind: StageKind;
  /** Its parameters, each where `kind.tensors` has that of the first. */
  readonly tensors: readonly string[];
}

/** The stages of a model by their kinds. Release it: kinds hold sessions. */
export interface StageKinds {
  place(stage: Stage): PlacedStage;
  release(): Promise<void>;
}

/** Sorts stages into kinds as they come. `memory` is that of their sessions. */
export function stageKinds(model: CheckpointModel, runtime: Runtime, memory: RunMemory = "kept"): StageKinds {
  const kinds = new Map<string, StageKind>();
  const opened: Promise<StageSession>[] = [];
  return {
    place: (stage) => {
      const graph = stage.graph();
      const { key, parameters } = lifted(graph, model.parameters);
      const tensors = parameters.map(({ tensor }) => tensor);
      const kind = kinds.get(key) ?? kindOf({ first: stage, graph, tensors, model, runtime, memory, opened });
      kinds.set(key, kind);
      return { stage, kind, tensors };
    },
    release: async () => {
      for (const one of await Promise.allSettled(opened.splice(0))) {
        if (one.status === "fulfilled") await one.value.session.release();
      }
      kinds.clear();
    },
  };
}

interface KindParts {
  readonly first: Stage;
  readonly graph: Graph;
  readonly tensors: readonly string[];
  readonly model: CheckpointModel;
  readonly runtime: Runtime;
  readonly memory: RunMemory;
  /** Gets every session that is opened. */
  readonly opened: Promise<StageSession>[];
}

function kindOf({ first, graph, tensors, model, runtime, memory, opened }: KindParts): StageKind {
  let analysis: Promise<Analysis> | undefined;
  const sessions = new Map<string, Promise<StageSession>>();
  const open = async (whole: Graph, outputs: readonly string[]): Promise<StageSession> => {
    const infos = outputs.map((name) => ({ name, dtype: null }));
    const part = { ...extract(whole, outputs), outputs: infos, valueInfo: new Map() };
    const { graph: fed, parameters } = lifted(part, model.parameters);
    const reads = new Map(parameters.map(({ input, tensor }) => [input, tensor]));
    return { session: await runtime.compile(castAfterLookup(fed), { memory }), reads };
  };
  return {
    ...{ first, graph, tensors },
    analysis: () => {
      analysis ??= analyse(graph, runtime);
      return analysis;
    },
    session: (name, whole, outputs) => {
      const known = sessions.get(name);
      if (known !== undefined) return known;
      const session = open(whole, outputs);
      sessions.set(name, session);
      opened.push(session);
      return session;
    },
  };
}
