import { EspalierError } from "../index.node.ts";
import type { Host } from "./host.ts";

/** Throws `request` for a report that is neither .html nor .json, and `file` where it cannot be written. */
export async function checkReport(path: string | undefined, host: Host, inputs: readonly string[]): Promise<void> {
  if (path === undefined) return;
  if (!/\.(html?|json)$/i.test(path)) {
    throw new EspalierError("request", `--report ${path}`, "expected a name that ends with .html or .json.");
  }
  await host.checkOutput(path, inputs);
}

/** Writes a report as a page or as JSON, by the ending of the name. */
export async function writeReport<R>(
  path: string | undefined,
  report: R,
  page: (report: R) => Promise<string>,
  host: Host,
): Promise<void> {
  if (path === undefined) return;
  await host.writeText(path, /\.html?$/i.test(path) ? await page(report) : `${JSON.stringify(report, null, 2)}\n`);
}
