import type { Group } from "../../coupling/couple.ts";
import type { Dataset } from "../../data/dataset.ts";
import { edit } from "../../graph/edit.ts";
import type { Analysis } from "../../models/analysis.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { Agreement } from "../../stats/answers/agreement.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { fromFloats } from "../../tensor/numeric.ts";
import { type Job, step } from "../../tensor/progress.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { ErrorCurve } from "./error-curves.ts";

/** How much a network minds that what the consumers of a group give is partly lost. */
export interface Sensitivity {
  /** KL divergence of the outputs in nats (squared relative error where they are no classes) when the part `amount` of the deviation from the mean is lost. */
  readonly divergence: number;
  /** The same when all of it is lost, so that only the mean is given. */
  readonly gone: number;
  readonly amount: number;
}

/**
 * Measures for each curve how the network's output changes when what the group's consumers give shrinks towards its mean:
 * y + amount · (E[y] − y). It turns errors of different layers into one unit, nats. Runs the whole network twice per group.
 */
export async function shrinkSensitivity(
  runtime: Runtime,
  analysis: Analysis,
  curves: readonly ErrorCurve[],
  data: Dataset,
  options: Job & { readonly batchSize: number; readonly amount?: number },
): Promise<ReadonlyMap<Group, Sensitivity>> {
  const { amount = 0.5 } = options;
  const draft = edit(analysis.graph);
  const inputs = new Map<Group, string>();
  for (const curve of curves) {
    const name = draft.input(draft.fresh("amount"), "f32", []);
    inputs.set(curve.group, name);
    for (const { value, axis, mean } of curve.outputs) {
      const type = analysis.facts.types.get(value);
      if (type === undefined || !isFloat(type.dtype)) continue;
      const shape = [mean.length, ...Array<number>(type.shape.length - 1 - axis).fill(1)];
      const gap = draft.op("Sub", [draft.constant(fromFloats("f32", shape, mean), "mean"), value]);
      draft.replaceUses(value, draft.op("Add", [value, draft.op("Mul", [gap, name])]), {
        except: draft.consumers(value).filter((node) => node.outputs[0] === gap),
      });
    }
  }
  const output = analysis.graph.outputs[0]?.name ?? "";
  const session = await runtime.compile({ ...draft.finish(), valueInfo: new Map() });
  const found = new Map(curves.map(({ group }) => [group, { part: new Agreement(), all: new Agreement() }]));
  let samples = 0;
  try {
    const feedsFor = (feeds: ReadonlyMap<string, HostTensor>, chosen: Group | null, value: number) =>
      new Map([
        ...feeds,
        ...[...inputs].map(([group, name]): [string, HostTensor] => [
          name,
          fromFloats("f32", [], Float32Array.of(group === chosen ? value : 0)),
        ]),
      ]);
    let done = 0;
    const total = Math.ceil(data.count / options.batchSize) * curves.length;
    for await (const batch of data.batches(options.batchSize)) {
      const run = async (group: Group | null, value: number): Promise<HostTensor | undefined> =>
        (await session.run(feedsFor(batch.inputs, group, value), [output])).get(output);
      const reference = await run(null, 0);
      if (reference === undefined) break;
      for (const [group, { part, all }] of found) {
        step(options, "sensitivity", done++, total, group.id);
        part.add(output, reference, await run(group, amount), batch.count, samples);
        all.add(output, reference, await run(group, 1), batch.count, samples);
      }
      samples += batch.count;
    }
  } finally {
    await session.release();
  }
  const lossOf = (agreement: Agreement): number => {
    const result = agreement.result(samples);
    return result === null ? 0 : (result.kl ?? result.relativeError ** 2);
  };
  return new Map(
    [...found].map(([group, { part, all }]) => [group, { divergence: lossOf(part), gone: lossOf(all), amount }]),
  );
}
