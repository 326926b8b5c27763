import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { readSafetensors } from "../../formats/safetensors/read.ts";
import { saveSafetensors } from "../../formats/safetensors/save.node.ts";
import { fileSource } from "../../formats/source/file.node.ts";
import { type HostTensor, load, refOf } from "../../tensor/tensor.ts";
import type { ParameterVersions } from "./parameter-versions.ts";

/** Versions in files of a folder, one for each version of a stage; a file that is there is whole. */
export async function versionsOnDisk(folder: string): Promise<ParameterVersions> {
  const there = new Set(await readdir(folder));
  return {
    of: (version) => {
      const file = (stage: string): string =>
        `${encodeURIComponent(version)} of ${encodeURIComponent(stage)}.safetensors`;
      return {
        has: (stage) => there.has(file(stage)),
        get: async (stage) => {
          const found = new Map<string, HostTensor>();
          if (!there.has(file(stage))) return found;
          const { tensors } = await readSafetensors(await fileSource(join(folder, file(stage))));
          for (const [name, ref] of tensors) found.set(name, await load(ref));
          return found;
        },
        put: async (stage, given) => {
          const tensors = new Map([...given].map(([name, tensor]) => [name, refOf(tensor)]));
          await saveSafetensors({ tensors, metadata: new Map() }, join(folder, file(stage)));
          there.add(file(stage));
        },
      };
    },
  };
}
