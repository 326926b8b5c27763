import { rename, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { syncFolder } from "../../formats/whole-files.node.ts";
import { EspalierError } from "../../tensor/error.ts";

/** The work that a checkpoint comes from. */
interface PlacedWork {
  /** Whether all is done but to put it in its place. */
  readonly isComplete: boolean;
  complete(): Promise<void>;
  remove(): Promise<void>;
}

/**
 * Puts a checkpoint in its place when it is whole, and removes the folder of work that it was written in, as `checkpoint`
 * there. A run that is killed at any point goes on from there.
 */
export async function placeFolder(
  target: string,
  place: string,
  work: PlacedWork,
  write: () => Promise<unknown>,
): Promise<void> {
  const whole = join(place, "checkpoint");
  if (!work.isComplete) {
    if (!(await isThere(whole))) await write();
    await work.complete();
  }
  if (await isThere(whole)) await rename(whole, target);
  await syncFolder(dirname(target));
  await work.remove();
}

/** What went wrong, with a way to go on where a file or the disk was the cause. */
export function withPlace(cause: unknown, place: string): unknown {
  if (!(cause instanceof EspalierError) || cause.code !== "file") return cause;
  const { where, message } = cause;
  const hint = `Finished stages are kept in "${place}": make room or repair the path, and repeat with --resume.`;
  return new EspalierError("file", where, message.slice(where.length + 2), hint, { cause });
}

export async function isThere(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
