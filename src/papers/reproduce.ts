import { reproductionOn } from "../claims/paper.ts";
import type { Findings } from "../claims/reproduction.ts";
import { EspalierError } from "../tensor/error.ts";
import { type BenchOptions, benchOn } from "../testbeds/bench/bench.ts";
import type { Absent, Testbed } from "../testbeds/testbed.ts";
import type { AnyPaper } from "./registry.ts";

/** Tests the claim of a paper on a testbed. Throws `request` with the reason where the testbed's files are absent. */
export function reproduce(paper: AnyPaper, testbed: Testbed | Absent, options: BenchOptions): Promise<Findings> {
  if ("absent" in testbed) throw new EspalierError("request", `testbed ${testbed.id}`, testbed.absent);
  return reproductionOn(paper, testbed.id).run(benchOn(testbed, options));
}
