import type { CheckpointModel, Stage } from "../../models/checkpoint/checkpoint-model.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { LAW_TOLERANCE, type LawResult } from "../../surgery/law.ts";
import { EspalierError } from "../../tensor/error.ts";
import { float32Tensor, fromInts, toFloat32 } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import type { HostTensor } from "../../tensor/tensor.ts";

/** Tokens that are embedded, and hidden states that are turned into logits. */
const mostTokens = 256;
const states = 4;

/**
 * Holds the two stages that know tokens against the original's: the same tokens under their new ids give the same hidden
 * states, and hidden states give the logits of the original for what stays. Throws `law` where they do not.
 */
export async function checkTokens(
  model: CheckpointModel,
  small: CheckpointModel,
  kept: readonly number[],
  runtime: Runtime,
): Promise<LawResult> {
  const { width, positions } = model.outline;
  const count = Math.min(mostTokens, kept.length, positions);
  // Spread over all that stays.
  const places = Array.from({ length: count }, (_, i) => Math.floor((i * kept.length) / count));
  const ids = (values: readonly number[]): HostTensor => fromInts("i64", [1, count], values);
  const old = places.map((place) => kept[place] ?? 0);
  const results = [await compared("embedding", ids(old), ids(places), (values) => values)];
  if (model.kind === "decoder") {
    const draw = random(0, "tokens");
    const values = Float32Array.from({ length: states * width }, () => draw.normal());
    const hidden = float32Tensor([1, states, width], values);
    const rows = model.outline.vocabulary;
    const gathered = (values: Float32Array): Float32Array =>
      Float32Array.from(
        { length: states * kept.length },
        (_, i) => values[Math.floor(i / kept.length) * rows + (kept[i % kept.length] ?? 0)] ?? Number.NaN,
      );
    results.push(await compared("head", hidden, hidden, gathered));
  }
  const maxAbsDiff = Math.max(...results.map(({ difference }) => difference));
  const relative = Math.max(...results.map(({ difference, largest }) => difference / Math.max(largest, 1e-30)));
  if (!(relative <= LAW_TOLERANCE)) {
    const message = `expected what the original computes of the tokens that stay, within ${LAW_TOLERANCE}, got ${relative}.`;
    throw new EspalierError("law", model.name, message, "Nothing was written.");
  }
  return { maxAbsDiff, relative, tolerance: LAW_TOLERANCE, passed: true, batches: 1 };

  async function compared(
    role: Stage["role"],
    before: HostTensor,
    after: HostTensor,
    left: (values: Float32Array) => Float32Array,
  ): Promise<{ readonly difference: number; readonly largest: number }> {
    const [expected, got] = [left(await made(model, role, before)), await made(small, role, after)];
    let [difference, largest] = [expected.length === got.length ? 0 : Number.NaN, 0];
    for (const [i, value] of expected.entries()) {
      difference = Math.max(difference, Math.abs(value - (got[i] ?? Number.NaN)));
      largest = Math.max(largest, Math.abs(value));
    }
    return { difference, largest };
  }

  async function made(of: CheckpointModel, role: Stage["role"], input: HostTensor): Promise<Float32Array> {
    const stage = of.stages.find((one) => one.role === role);
    if (stage === undefined) throw new EspalierError("law", of.name, `expected a stage of the ${role}, got none.`);
    const session = await runtime.compile(stage.graph());
    try {
      const values = await session.run(new Map([[stage.input.name, input]]));
      const found = values.get(stage.output.name);
      if (found === undefined) throw new EspalierError("runtime", of.name, `expected ${stage.output.name}, got none.`);
      return toFloat32(found);
    } finally {
      await session.release();
    }
  }
}
