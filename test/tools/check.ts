import { spawn } from "node:child_process";

/** Every check in its order; all of them run, so that one log shows everything that is wrong. */
const steps = ["lint", "types", "unused", "test", "size"];

/** Runs one npm script and shows what it says; gives whether it passed and the line of test counts if it said one. */
function run(step: string): Promise<{ readonly passed: boolean; readonly counts: string }> {
  return new Promise((done) => {
    let counts = "";
    const child = spawn("npm", ["run", "--silent", step], { stdio: ["ignore", "pipe", "inherit"] });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      process.stdout.write(text);
      counts = /^Tests: \d+ passed.*$/m.exec(text)?.[0] ?? counts;
    });
    child.on("close", (code) => done({ passed: code === 0, counts }));
  });
}

const failed: string[] = [];
let counts = "";
for (const step of steps) {
  console.log(`\n== npm run ${step}`);
  const started = performance.now();
  const result = await run(step);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`== ${step}: ${result.passed ? "passed" : "FAILED"} in ${seconds} s`);
  if (!result.passed) failed.push(step);
  if (result.counts !== "") counts = result.counts;
}
console.log(failed.length === 0 ? "\nAll checks passed." : `\nFailed: ${failed.join(", ")}.`);
if (counts !== "") console.log(counts);
process.exitCode = failed.length === 0 ? 0 : 1;
