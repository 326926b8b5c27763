import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import { versionsInMemory } from "./parameter-versions.ts";
import { versionsOnDisk } from "./versions-on-disk.node.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "versions-"));
});
afterAll(() => rm(folder, { recursive: true }));

const tensors = (start: number): ReadonlyMap<string, HostTensor> =>
  new Map([
    ["a.weight", float32Tensor([2, 2], Float32Array.of(start, start + 1, -start, 0.5))],
    ["b/c.weight", float32Tensor([3], Float32Array.of(start, Number.MIN_VALUE, 1e30))],
  ]);
const shown = (found: ReadonlyMap<string, HostTensor>) =>
  [...found].map(([name, tensor]) => [name, tensor.shape, [...toFloat32(tensor)]]).sort();

it.each([
  ["in memory", async () => versionsInMemory()],
  ["on disk", () => versionsOnDisk(folder)],
] as const)("versions lie beside each other, stage by stage: %s", async (_, open) => {
  const versions = await open();
  const [one, other] = [versions.of("gradient"), versions.of("general/gradient: 2")];
  await one.put("model.layers.0", tensors(1));
  await one.put("model.layers.1", tensors(2));
  await other.put("model.layers.0", tensors(3));
  expect(shown(await one.get("model.layers.0"))).toEqual(shown(tensors(1)));
  expect(shown(await one.get("model.layers.1"))).toEqual(shown(tensors(2)));
  expect(shown(await other.get("model.layers.0"))).toEqual(shown(tensors(3)));
  expect(shown(tensors(1))).not.toEqual(shown(tensors(3)));
  expect([one.has("model.layers.1"), other.has("model.layers.1"), other.has("model.layers.0")]).toEqual([
    true,
    false,
    true,
  ]);
  expect(shown(await other.get("model.layers.1"))).toEqual([]);
  await one.put("model.layers.0", tensors(7));
  expect(shown(await versions.of("gradient").get("model.layers.0"))).toEqual(shown(tensors(7)));
});

it("what was put on disk is there when the folder is opened again", async () => {
  const again = (await versionsOnDisk(folder)).of("general/gradient: 2");
  expect(again.has("model.layers.0")).toBe(true);
  expect(shown(await again.get("model.layers.0"))).toEqual(shown(tensors(3)));
});
