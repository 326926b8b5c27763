import { readFileSync } from "node:fs";
import type { Reporter, TestModule } from "vitest/node";

/** How many tests ended how; a file that could not be loaded counts as one failed test. */
export interface Counts {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** The one line that a log is searched for. */
export function countsLine({ passed, failed, skipped }: Counts): string {
  return `Tests: ${passed} passed, ${failed} failed, ${skipped} skipped`;
}

function count(modules: readonly TestModule[]): Counts {
  const counts = { passed: 0, failed: 0, skipped: 0 };
  for (const module of modules) {
    const tests = [...module.children.allTests()];
    for (const test of tests) {
      const { state } = test.result();
      if (state !== "pending") counts[state]++;
    }
    if (!module.ok() && tests.every((test) => test.ok())) counts.failed++;
  }
  return counts;
}

/** Ends a run with one plain line of counts, and says when the run took longer than budgets.json allows. */
export class PlainReporter implements Reporter {
  private started = 0;

  onTestRunStart(): void {
    this.started = performance.now();
  }

  onTestRunEnd(modules: readonly TestModule[], errors: readonly unknown[]): void {
    const counts = count(modules);
    const seconds = (performance.now() - this.started) / 1000;
    const { testSeconds } = JSON.parse(readFileSync("budgets.json", "utf8"));
    if (seconds > testSeconds) {
      console.log(`The tests took ${seconds.toFixed(0)} s, more than the ${testSeconds} s of budgets.json.`);
    }
    console.log(countsLine({ ...counts, failed: counts.failed + errors.length }));
  }
}
