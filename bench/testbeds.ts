/**
 * Opens testbeds, trains those that are not in the cache, and prints what they reach on all of their test pictures.
 *
 * Usage: npx tsx bench/testbeds.ts [ID..] [--threads N]; without ids all that are trained on glyphs.
 * The seconds are those of training, and nothing where the model lay in the cache.
 */
import { parseArgs } from "node:util";
import { openRuntime } from "../src/index.node.ts";
import { classify } from "../src/testbeds/bench/classify.ts";
import { openTestbed, testbedIds } from "../src/testbeds/open.node.ts";

const { values, positionals } = parseArgs({ allowPositionals: true, options: { threads: { type: "string" } } });
const ids = positionals.length > 0 ? positionals : testbedIds.filter((id) => id.startsWith("glyphs-"));
const runtime = await openRuntime({ threads: Number(values.threads ?? 2) });
console.log("| testbed | test pictures | accuracy, % | nll | seconds to train | cpu seconds |");
console.log("| --- | --- | --- | --- | --- | --- |");
for (const id of ids) {
  let updates = 0;
  const [started, busy] = [performance.now(), process.cpuUsage()];
  const testbed = await openTestbed(id, {
    runtime,
    samples: Number.MAX_SAFE_INTEGER,
    progress: ({ done, total, detail }) => {
      updates = done;
      if (done % 100 === 0) process.stderr.write(`${id}: ${done} of ${total}, ${detail ?? ""}\n`);
    },
  });
  const seconds = (performance.now() - started) / 1000;
  const { user, system } = process.cpuUsage(busy);
  if ("absent" in testbed) {
    console.log(`| ${id} | ${testbed.absent} | | | | |`);
    continue;
  }
  const { accuracy, nll, samples } = await classify(runtime, testbed.model.onnx.graph, testbed.test);
  const times = updates === 0 ? " | " : `${seconds.toFixed(0)} | ${((user + system) / 1e6).toFixed(0)}`;
  console.log(`| ${id} | ${samples} | ${accuracy.toFixed(2)} | ${nll.toFixed(3)} | ${times} |`);
}
await runtime.close();
