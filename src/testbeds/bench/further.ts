import { type FurtherYardstick, furtherYardsticks } from "../../claims/reproduction.ts";
import type { Graph } from "../../graph/graph.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { EspalierError } from "../../tensor/error.ts";
import { chosen, continuationsOf, written } from "../continuations.ts";
import type { Testbed } from "../testbed.ts";
import { classify } from "./classify.ts";

/** Measures a model by each yardstick that is asked for. */
export type FurtherMeter = (graph: Graph) => Promise<Readonly<Partial<Record<FurtherYardstick, number>>>>;

/** A meter of further yardsticks. Throws `request` for a testbed that has no general text, where that is asked for. */
export async function furtherMeter(
  testbed: Testbed,
  wanted: readonly FurtherYardstick[],
  runtime: Runtime,
): Promise<FurtherMeter> {
  const { general, model, test } = testbed;
  if (general === undefined && wanted.includes("general loss")) {
    const hint = "Use one of the language models.";
    throw new EspalierError("request", `testbed ${testbed.id}`, "expected general text, got none.", hint);
  }
  const goesOn = wanted.includes("written") || wanted.includes("chosen");
  const asked = goesOn ? await continuationsOf(runtime, model.onnx.graph, test) : null;
  const measures: Readonly<Record<FurtherYardstick, (graph: Graph) => Promise<number>>> = {
    "general loss": async (graph) => (general === undefined ? 0 : (await classify(runtime, graph, general.test)).nll),
    written: async (graph) => (asked === null ? 0 : written(runtime, graph, asked)),
    chosen: async (graph) => (asked === null ? 0 : chosen(runtime, graph, asked)),
  };
  return async (graph) => {
    const found: Partial<Record<FurtherYardstick, number>> = {};
    for (const name of wanted) found[name] = await measures[name](graph);
    return found;
  };
}

/** Values of one draw after the other, by yardstick. */
export function inDraws(
  draws: readonly Readonly<Partial<Record<FurtherYardstick, number>>>[],
): Readonly<Partial<Record<FurtherYardstick, readonly number[]>>> {
  const found: Partial<Record<FurtherYardstick, number[]>> = {};
  for (const name of furtherYardsticks) {
    const values = draws.flatMap((draw) => draw[name] ?? []);
    if (values.length > 0) found[name] = values;
  }
  return found;
}
