import { spawnSync } from "node:child_process";

/** Every check in its order; all of them run, so that one log shows everything that is wrong. */
const steps = ["lint", "types", "unused", "test", "size"];

const failed: string[] = [];
for (const step of steps) {
  console.log(`\n== npm run ${step}`);
  const started = performance.now();
  const { status } = spawnSync("npm", ["run", "--silent", step], { stdio: "inherit" });
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`== ${step}: ${status === 0 ? "passed" : "FAILED"} in ${seconds} s`);
  if (status !== 0) failed.push(step);
}
console.log(failed.length === 0 ? "\nAll checks passed." : `\nFailed: ${failed.join(", ")}.`);
process.exitCode = failed.length === 0 ? 0 : 1;
