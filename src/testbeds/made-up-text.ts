import { type IndexedDataset, indexed } from "../data/dataset.ts";
import { fromInts } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";

/** Windows of random tokens as `input_ids`, with the token behind each place as its label; nothing is behind the last. */
export function madeUpText(count: number, time: number, vocabulary: number, seed: number): IndexedDataset {
  const source = random(seed);
  const rows = Array.from({ length: count }, () => Array.from({ length: time }, () => source.int(vocabulary)));
  return indexed({
    description: "made-up text",
    count,
    labelled: true,
    labelShape: [time],
    features: new Map([["input_ids", { dtype: "i64", shape: [time] }]]),
    gather: async (positions) => {
      const chosen = Array.from(positions, (position) => rows[position] ?? []);
      return {
        inputs: new Map([["input_ids", fromInts("i64", [chosen.length, time], chosen.flat())]]),
        labels: Int32Array.from(chosen.flatMap((row) => [...row.slice(1), -1])),
        count: chosen.length,
      };
    },
  });
}
