import { rm, stat } from "node:fs/promises";
import { readSafetensors } from "../formats/safetensors/read.ts";
import { saveSafetensors } from "../formats/safetensors/save.node.ts";
import { fileSource } from "../formats/source/file.node.ts";
import { snapshotFile, snapshotFrom } from "./snapshot-file.ts";
import type { RunSnapshot } from "./train.ts";

/** The snapshots of one training in one file. */
export interface SnapshotKeeper {
  /** The last snapshot; null where there is none. Throws where the file is another training's, or damaged. */
  read(): Promise<RunSnapshot | null>;
  /** Replaces the last by another, whole or not at all. */
  write(snapshot: RunSnapshot): Promise<void>;
  /** Removes the file. */
  clear(): Promise<void>;
}

/** Keeps snapshots at a path. `request` tells what is trained, and how: snapshots of another are refused. */
export function keepSnapshots(path: string, request: string): SnapshotKeeper {
  return {
    read: async () => {
      const found = await stat(path).catch(() => null);
      if (found === null) return null;
      return snapshotFrom(await readSafetensors(await fileSource(path)), request, path);
    },
    write: (snapshot) => saveSafetensors(snapshotFile(snapshot, request), path),
    clear: () => rm(path, { force: true }),
  };
}
