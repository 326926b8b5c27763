import { readFile } from "node:fs/promises";

/** Memory of this process that stands for no file, in bytes; where the system does not tell, all that is resident. */
export async function anonymousBytes(): Promise<number> {
  const status = await readFile("/proc/self/status", "utf8").catch(() => "");
  const kilobytes = /^RssAnon:\s*(\d+) kB$/m.exec(status)?.[1];
  return kilobytes === undefined ? process.memoryUsage.rss() : 1024 * Number(kilobytes);
}
