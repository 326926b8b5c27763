import type { Batch, Dataset } from "../../data/dataset.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { EspalierError } from "../../tensor/error.ts";
import { fromInts, toInts } from "../../tensor/numeric.ts";
import { formatShape, type HostTensor } from "../../tensor/tensor.ts";

/**
 * The tokens of each batch, i64 [windows, time], as the first stage takes them. Throws `data` for what is no windows of tokens of this
 * model: another input, windows that are longer than its positions, tokens outside of its vocabulary.
 */
export async function* tokenBatches(
  model: CheckpointModel,
  data: Dataset,
  batchSize: number,
): AsyncGenerator<{ readonly tokens: HostTensor; readonly batch: Batch }> {
  const { positions, vocabulary } = model.outline;
  const name = model.stages[0]?.input.name ?? "";
  for await (const batch of data.batches(batchSize)) {
    const tensor = batch.inputs.get(name) ?? onlyOf(batch);
    const wrong = (expected: string, got: string, hint = ""): EspalierError =>
      new EspalierError("data", data.description, `expected ${expected}, got ${got}.`, hint);
    if (tensor === undefined || (tensor.dtype !== "i64" && tensor.dtype !== "i32") || tensor.shape.length !== 2) {
      const got =
        tensor === undefined ? [...batch.inputs.keys()].join(", ") : `${tensor.dtype} ${formatShape(tensor.shape)}`;
      throw wrong("windows of tokens, whole numbers [windows, time]", got);
    }
    const [, time = 0] = tensor.shape;
    if (time > positions) {
      throw wrong(`windows of at most the ${positions} positions of the model`, `${time}`, "Give a shorter --window.");
    }
    const tokens = toInts(tensor);
    const strange = tokens.find((token) => !(token >= 0 && token < vocabulary));
    if (strange !== undefined) {
      const hint = "The text was cut by another model's tokenizer.";
      throw wrong(`tokens below the ${vocabulary} entries of the model's vocabulary`, `${strange}`, hint);
    }
    yield { tokens: tensor.dtype === "i64" ? tensor : fromInts("i64", tensor.shape, tokens), batch };
  }
}

function onlyOf({ inputs }: Batch): HostTensor | undefined {
  const [only, ...others] = inputs.values();
  return others.length === 0 ? only : undefined;
}
