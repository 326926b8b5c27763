import { readFileSync } from "node:fs";
import { brotliDecompressSync } from "node:zlib";
import { memoryFolder } from "../../src/formats/checkpoint/folder.ts";
import { type Checkpoint, openCheckpoint } from "../../src/formats/checkpoint/open.ts";
import { readSafetensors } from "../../src/formats/safetensors/read.ts";
import { memorySource } from "../../src/formats/source/source.ts";
import { float32Tensor, toFloat32 } from "../../src/tensor/numeric.ts";
import { type HostTensor, load, refOf, type TensorRef } from "../../src/tensor/tensor.ts";

interface Case {
  readonly name: string;
  readonly checkpoint: string;
  readonly config: Readonly<Record<string, unknown>>;
}

/** Tiny checkpoints of every architecture, and what they compute (see test/export/checkpoints/make.py). */
export interface Fixtures {
  readonly cases: readonly Case[];
  /** The files of a case's checkpoint; `changes` replace fields of its config. */
  files(name: string, changes?: Readonly<Record<string, unknown>>): ReadonlyMap<string, Uint8Array>;
  open(name: string, changes?: Readonly<Record<string, unknown>>): Promise<Checkpoint>;
  /** Inputs and results. */
  expected(name: string): Promise<ReadonlyMap<string, HostTensor>>;
}

/** Opens the packed fixtures. */
export function openFixtures(pack = "checkpoints.br"): Fixtures {
  const whole = brotliDecompressSync(readFileSync(new URL(`../fixtures/${pack}`, import.meta.url)));
  const end = whole.indexOf(10);
  const index: [string, number][] = JSON.parse(whole.subarray(0, end).toString());
  const packed = new Map<string, Uint8Array>();
  let at = end + 1;
  for (const [name, size] of index) {
    packed.set(name, whole.subarray(at, at + size));
    at += size;
  }
  const file = (name: string): Uint8Array => packed.get(name) ?? missing(name);
  const cases: Case[] = JSON.parse(new TextDecoder().decode(file("cases.json")));
  const files: Fixtures["files"] = (name, changes = {}) => {
    const found = cases.find((one) => one.name === name) ?? missing(name);
    const config = JSON.stringify({ ...found.config, ...changes });
    return new Map([
      ["config.json", new TextEncoder().encode(config)],
      ["model.safetensors", file(`${found.checkpoint}.safetensors`)],
    ]);
  };
  return {
    cases,
    files,
    open: (name, changes) => openCheckpoint(memoryFolder(name, files(name, changes))),
    expected: async (name) => {
      const { tensors } = await readSafetensors(memorySource(name, file(`${name}.expected.safetensors`)));
      const loaded = [...tensors].map(async ([key, ref]) => [key, await load(ref)] as const);
      return new Map(await Promise.all(loaded));
    },
  };
}

/** A checkpoint whose tensors are float32, so that nothing is rounded. */
export async function inFloat32(checkpoint: Checkpoint): Promise<Checkpoint> {
  const tensors = new Map<string, TensorRef>();
  for (const [key, ref] of checkpoint.tensors) {
    tensors.set(key, refOf(float32Tensor(ref.shape, toFloat32(await load(ref)))));
  }
  return { ...checkpoint, tensors };
}

function missing(name: string): never {
  throw new Error(`no fixture ${name}`);
}
