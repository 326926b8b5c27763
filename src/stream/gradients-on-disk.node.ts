import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { readSafetensors } from "../formats/safetensors/read.ts";
import { saveSafetensors } from "../formats/safetensors/save.node.ts";
import { fileSource } from "../formats/source/file.node.ts";
import { type HostTensor, load, refOf } from "../tensor/tensor.ts";
import type { GradientStore } from "./gradient-store.ts";

/** Gradients in files of a folder, one for each stage; a file that is there is whole. */
export async function gradientsOnDisk(folder: string): Promise<GradientStore> {
  const there = new Set(await readdir(folder));
  const file = (stage: string): string => `gradients of ${encodeURIComponent(stage)}.safetensors`;
  return {
    has: (stage) => there.has(file(stage)),
    get: async (stage) => {
      const means = new Map<string, HostTensor>();
      if (!there.has(file(stage))) return means;
      const { tensors } = await readSafetensors(await fileSource(join(folder, file(stage))));
      for (const [name, ref] of tensors) means.set(name, await load(ref));
      return means;
    },
    put: async (stage, means) => {
      const tensors = new Map([...means].map(([name, mean]) => [name, refOf(mean)]));
      await saveSafetensors({ tensors, metadata: new Map() }, join(folder, file(stage)));
      there.add(file(stage));
    },
  };
}
