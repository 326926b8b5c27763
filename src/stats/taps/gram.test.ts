import { afterAll, expect, it } from "vitest";
import { builder } from "../../graph/builder.ts";
import { openRuntime } from "../../runtime/open-runtime.node.ts";
import { gram } from "../../tensor/linalg/matrix.ts";
import { float32Tensor } from "../../tensor/numeric.ts";
import { random } from "../../tensor/random.ts";
import { tapGram } from "./gram.ts";

const runtime = await openRuntime({ threads: 1 });
afterAll(() => runtime.close());

/** Largest difference between Σ x·xᵀ over two batches by a tap and in float64. */
async function difference(columns: number, axis: 0 | 1, opset: number, disturb = 0): Promise<number> {
  const tokens = 20;
  const draft = builder("x", opset);
  const x = draft.input("x", "f32", [null, null]);
  const tap = tapGram(draft, opset, x, columns, axis);
  for (const name of tap.outputs) draft.output(name, "f32");
  const session = await runtime.compile(draft.finish());
  const all = new Float64Array(2 * tokens * columns);
  random(1).fillNormal(all);
  const single = Float32Array.from(all);
  for (const batch of [0, 1]) {
    const part = single.subarray(batch * tokens * columns, (batch + 1) * tokens * columns);
    const laid =
      axis === 1 ? part : Float32Array.from(part, (_, i) => part[(i % tokens) * columns + Math.floor(i / tokens)] ?? 0);
    const shape = axis === 1 ? [tokens, columns] : [columns, tokens];
    tap.add(await session.run(new Map([["x", float32Tensor(shape, laid)]])));
  }
  await session.release();
  const expected = gram(Float64Array.from(single), 2 * tokens, columns);
  expected[columns] = (expected[columns] ?? 0) + disturb;
  return tap.result().reduce((worst, v, i) => Math.max(worst, Math.abs(v - (expected[i] ?? 0))), 0);
}

it.each([
  [40, 0, 17],
  [40, 1, 17],
  [1300, 0, 17],
  [1300, 1, 17],
  [513, 0, 17],
  [600, 1, 12],
] as const)(
  "%d columns along axis %d, operator set %d: both triangles, summed over batches",
  async (columns, axis, opset) => {
    expect(await difference(columns, axis, opset)).toBeLessThan(1e-4);
  },
);

it("one wrong entry below the diagonal would be seen", async () => {
  expect(await difference(40, 1, 17, 0.01)).toBeGreaterThan(0.005);
});
