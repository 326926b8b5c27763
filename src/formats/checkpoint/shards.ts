import { bytesOf, type TensorRef } from "../../tensor/tensor.ts";

/** One file of a checkpoint that is to be written. */
export interface Shard {
  readonly file: string;
  readonly tensors: ReadonlyMap<string, TensorRef>;
}

/** Bytes of a shard unless a single tensor is larger, as the Hub has them. */
const shardBytes = 5e9;

/** Spreads tensors over files in their order. One that holds everything is called model.safetensors. */
export function shardsOf(tensors: ReadonlyMap<string, TensorRef>, most: number = shardBytes): readonly Shard[] {
  const groups: Map<string, TensorRef>[] = [new Map()];
  let filled = 0;
  for (const [name, ref] of tensors) {
    const bytes = bytesOf(ref);
    if (filled > 0 && filled + bytes > most) {
      groups.push(new Map());
      filled = 0;
    }
    groups.at(-1)?.set(name, ref);
    filled += bytes;
  }
  const digits = (n: number): string => String(n).padStart(5, "0");
  return groups.map((group, i) => ({
    file: groups.length === 1 ? "model.safetensors" : `model-${digits(i + 1)}-of-${digits(groups.length)}.safetensors`,
    tensors: group,
  }));
}

/** model.safetensors.index.json of several shards. */
export function indexOf(shards: readonly Shard[]): string {
  let total = 0;
  const places: [string, string][] = [];
  for (const { file, tensors } of shards) {
    for (const [name, ref] of tensors) {
      total += bytesOf(ref);
      places.push([name, file]);
    }
  }
  places.sort(([a], [b]) => (a < b ? -1 : 1));
  const map = places.map(([name, file]) => `    ${JSON.stringify(name)}: ${JSON.stringify(file)}`).join(",\n");
  return `{\n  "metadata": {\n    "total_size": ${total}\n  },\n  "weight_map": {\n${map}\n  }\n}\n`;
}
