import { mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { builder } from "../../graph/builder.ts";
import type { Graph } from "../../graph/graph.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import type { TensorRef } from "../../tensor/tensor.ts";
import { openRuntime } from "../open-runtime.node.ts";
import { pack } from "./pack.ts";

const folder = await mkdtemp(join(tmpdir(), "espalier-pack-"));
const cpu = await openRuntime({ threads: 1 });
afterAll(async () => {
  await cpu.close();
  await rm(folder, { recursive: true });
});

const side = 128;
const bytes = 4 * side * side;

/** A weight of 64 KiB, all `value`, that lies in a file at an odd offset and must not be read through JavaScript. */
async function inFile(name: string, value: number, read = () => Promise.reject(new Error("read"))): Promise<TensorRef> {
  const path = join(folder, name);
  const file = new Uint8Array(bytes + 3);
  file.set(new Uint8Array(new Float32Array(side * side).fill(value).buffer), 3);
  await writeFile(path, file);
  const source = { name, path, size: file.length, read };
  return { dtype: "f32", shape: [side, side], at: { source, offset: 3, length: bytes } };
}

const inMemory = (value: number): TensorRef => ({
  dtype: "f32",
  shape: [side, side],
  resident: new Uint8Array(new Float32Array(side * side).fill(value).buffer),
});

function product(weights: readonly TensorRef[]): Graph {
  const g = builder("product", 17);
  let x = g.input("x", "f32", [1, side]);
  for (const weight of weights) x = g.op("MatMul", [x, g.constant(weight, "w")]);
  g.output(x, "f32", [1, side]);
  return g.finish();
}

async function firstOutput(graph: Graph): Promise<number | undefined> {
  const session = await cpu.compile(graph);
  const out = await session.run(new Map([["x", float32Tensor([1, side], new Float32Array(side).fill(1))]]));
  await session.release();
  return [...out.values()].map(toFloat32)[0]?.[0];
}

it("maps weights from their files, from several folders and through links", async () => {
  const other = await mkdtemp(join(tmpdir(), "espalier-pack-"));
  const first = await inFile("first.bin", 0.5);
  const second = await inFile("second.bin", 0.25);
  const path = join(other, "link.bin");
  await symlink(join(folder, "second.bin"), path);
  const linked = second.at && { ...second, at: { ...second.at, source: { ...second.at.source, path } } };
  expect(await firstOutput(product([first, linked ?? second]))).toBe(0.5 * side * 0.25 * side);
  await rm(other, { recursive: true });
});

it("uses what stands in the file, not what stood there for another weight", async () => {
  // The fault that the check above must see: a file with other contents.
  expect(await firstOutput(product([await inFile("other.bin", 2)]))).not.toBe(0.5 * side);
});

it("gives weights in memory as buffers, without a copy, and one that occurs twice once", async () => {
  const weight = inMemory(0.5);
  const packed = await pack(product([weight, weight]));
  expect(packed.external.map(({ data }) => data)).toEqual([weight.resident]);
  expect(packed.external[0]?.data.buffer).toBe(weight.resident?.buffer);
  expect(packed.bytes.length).toBeLessThan(2000);
  expect(await firstOutput(product([weight, weight]))).toBe(0.5 * side * 0.5 * side);
});

it("runs graphs with weights in files and in memory, whichever are more", async () => {
  const files = [await inFile("a.bin", 0.5), await inFile("b.bin", 0.5), await inFile("c.bin", 0.5)];
  expect(await firstOutput(product([...files, inMemory(1)]))).toBe((0.5 * side) ** 3 * side);
  const content = new Uint8Array(new Float32Array(side * side).fill(0.5).buffer);
  const readable = await inFile("d.bin", 0.5, () => Promise.reject(new Error("replaced below")));
  const source = readable.at && { ...readable.at.source, read: async () => content };
  const read = readable.at && source && { ...readable, at: { ...readable.at, source } };
  expect(await firstOutput(product([read ?? readable, inMemory(1)]))).toBe(0.5 * side * side);
});

it("says so when the file ends before the weight", async () => {
  const ref = await inFile("short.bin", 1);
  await writeFile(join(folder, "short.bin"), new Uint8Array(100));
  await expect(cpu.compile(product([ref]))).rejects.toMatchObject({ code: "runtime" });
});
