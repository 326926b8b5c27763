import { expect, it } from "vitest";
import type { HostTensor } from "../tensor/tensor.ts";
import { discard } from "./discard.ts";

const tensor = (bytes: Uint8Array): HostTensor => ({ dtype: "u8", shape: [bytes.length], bytes });

it("gives the memory of a tensor back at once, unless others may read it", () => {
  const own = tensor(new Uint8Array(1 << 20));
  const shared = tensor(new Uint8Array(new SharedArrayBuffer(8)));
  const all = new Uint8Array(8).fill(7);
  const before = process.memoryUsage().arrayBuffers;
  for (const given of [own, shared, tensor(all.subarray(2))]) discard(given);
  expect(process.memoryUsage().arrayBuffers).toBeLessThan(before - (1 << 19));
  expect(own.bytes.length).toBe(0);
  expect(shared.bytes.length).toBe(8);
  expect(all).toEqual(new Uint8Array(8).fill(7));
});
