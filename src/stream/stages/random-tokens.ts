import type { Feeds } from "../../graph/graph.ts";
import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { float32Tensor, fromInts } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";

/** A model that looks at fewer tokens is analysed at just so many: the lengths that are tried unless told are larger. */
export const fewestOpen = 128;

/** Made-up inputs of a checkpoint: two texts of random tokens, or two pictures of noise, at the sizes of its analysis. */
export function randomTokens({ outline, stages }: CheckpointModel, seed: number): Feeds {
  const name = stages[0]?.input.name ?? "";
  const draw = random(seed, "tokens");
  const { picture, positions, vocabulary } = outline;
  if (picture !== undefined) {
    const shape = [2, picture.channels, picture.size, picture.size];
    const count = shape.reduce((a, b) => a * b);
    return new Map([
      [
        name,
        float32Tensor(
          shape,
          Float32Array.from({ length: count }, () => draw.normal()),
        ),
      ],
    ]);
  }
  const time = positions < fewestOpen ? positions : 16;
  return new Map([
    [
      name,
      fromInts(
        "i64",
        [2, time],
        Array.from({ length: 2 * time }, () => draw.int(vocabulary)),
      ),
    ],
  ]);
}
