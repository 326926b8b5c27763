import { diskFolder } from "./folder.node.ts";
import { type Checkpoint, openCheckpoint } from "./open.ts";

/** Opens the checkpoint in a folder of the disk. Throws like `openCheckpoint`. */
export async function openCheckpointFolder(path: string): Promise<Checkpoint> {
  return openCheckpoint(await diskFolder(path));
}
