import { EspalierError } from "../../tensor/error.ts";
import { fromInts } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { InputType } from "../bind.ts";
import type { Feature } from "../dataset.ts";

/** How a model takes text. */
export interface TokenInputs {
  /** Tokens of a sample, where the graph fixes their number. */
  readonly time: number | null;
  /** What each input holds for one sample of so many tokens. */
  features(time: number): ReadonlyMap<string, Feature>;
  /** The inputs of a batch: tokens [batch, time], and how many of each sample are no filling. */
  feeds(tokens: Int32Array, lengths: Int32Array, time: number): ReadonlyMap<string, HostTensor>;
}

/** What an input of a language model holds, by the names that exporters give. */
const kinds: ReadonlyMap<string, "mask" | "positions" | "zeros"> = new Map([
  ["attention_mask", "mask"],
  ["position_ids", "positions"],
  ["token_type_ids", "zeros"],
]);

interface Input {
  readonly name: string;
  readonly dtype: "i32" | "i64";
  readonly kind: "tokens" | "mask" | "positions" | "zeros";
}

const plain: InputType = { name: "tokens", dtype: "i64" };

/**
 * Finds the input that takes tokens, whole numbers [batch, time], and those beside it that follow from them. Throws `data`
 * where there is none, or one that text cannot fill.
 */
export function tokenInputs(inputs: readonly InputType[] = [plain]): TokenInputs {
  const found = inputs.map((input): Input => {
    const { name, dtype, dims } = input;
    if ((dtype === "i32" || dtype === "i64") && (dims === undefined || dims.length === 2)) {
      return { name, dtype, kind: kinds.get(name) ?? "tokens" };
    }
    const got = `"${name}" of ${dtype ?? "no tensor"}`;
    const hint = "Text can feed tokens, attention_mask, position_ids and token_type_ids: export without a cache.";
    throw new EspalierError("data", "text", `expected a model that takes tokens alone, got an input ${got}.`, hint);
  });
  const tokens = found.filter(({ kind }) => kind === "tokens");
  if (tokens.length !== 1) {
    const got = tokens.length === 0 ? "none" : tokens.map(({ name }) => name).join(", ");
    throw new EspalierError("data", "text", `expected one input of whole numbers [batch, time], got ${got}.`);
  }
  const time = inputs.map(({ dims }) => dims?.[1]).find((dim): dim is number => typeof dim === "number") ?? null;
  return {
    time,
    features: (length) => new Map(found.map(({ name, dtype }) => [name, { dtype, shape: [length] }])),
    feeds: (values, lengths, length) =>
      new Map(
        found.map(({ name, dtype, kind }) => {
          const shape = [lengths.length, length];
          return [name, fromInts(dtype, shape, kind === "tokens" ? values : filled(kind, lengths, length))];
        }),
      ),
  };
}

function filled(kind: "mask" | "positions" | "zeros", lengths: Int32Array, time: number): Int32Array {
  const values = new Int32Array(lengths.length * time);
  for (let i = 0; i < lengths.length; i++) {
    const start = i * time;
    if (kind === "mask") values.fill(1, start, start + (lengths[i] ?? 0));
    else if (kind === "positions") for (let t = 0; t < time; t++) values[start + t] = t;
  }
  return values;
}
