import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** Bytes of arrays that may come to those of the last collection until the next. */
const patience = 32e6;

/**
 * Gives a function that frees the arrays of this thread that nobody holds any longer, whenever they may be many. Left alone, V8
 * lets some 64 MB of them come together, and several times that where single arrays are large.
 */
export function arrayCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect !== "function") return () => undefined;
  const held = (): number => process.memoryUsage().arrayBuffers;
  let known = held();
  return () => {
    const now = held();
    known = Math.min(known, now);
    if (now < known + patience) return;
    collect();
    // Freed beside this thread, so that it may take a moment until this is less.
    known = held();
  };
}
