/**
 * A share of the original's measured time, on one thread and without fine-tuning, by `--max-latency`, which is given that
 * share of a time measured just before, and by `--keep-latency`, which is given the share; free widths at half of the MACs
 * beside them. Usage: npx tsx bench/latency.ts [--share 0.65] [--batches 1,64] [--by max,keep]
 */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { load, methods, openData, openRuntime, prune, type Report, recoveryNamed } from "../src/index.node.ts";

const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "resnet56-cifar10" },
    share: { type: "string", default: "0.65" },
    batches: { type: "string", default: "1,64" },
    test: { type: "string", default: "10000" },
    by: { type: "string", default: "max,keep" },
  },
});
const data = resolve(process.env["ESPALIER_DATA"] ?? join(import.meta.dirname, "../../shared/data"));
const runtime = await openRuntime({ threads: 1, worker: false });
const model = await load(join(data, "models", `${options.model}.onnx`));
const form = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], inputs: model.onnx.graph.inputs };
const calibration = await openData(join(data, "cifar10/train-10k.bin"), { ...form, limit: 512, seed: 0 });
const evaluation = await openData(join(data, "cifar10/test.bin"), { ...form, limit: Number(options.test) });
const recovery = recoveryNamed("lsq");
for (const latencyBatch of options.batches.split(",").map(Number)) {
  const free = await prune(model, methods.structured({ keepMacs: 0.5, roundTo: 1 }), { runtime, latencyBatch });
  line(`batch ${latencyBatch}, free widths`, free.report);
  const keepLatency = Number(options.share);
  const maxLatency = keepLatency * (free.report.before.latencyMs?.median ?? 0);
  for (const by of options.by.split(",")) {
    const target = by === "max" ? { maxLatency } : { keepLatency };
    const plan = methods.structured({ ...target, selection: "error", roundTo: "auto", recovery });
    const { report } = await prune(model, plan, { runtime, calibration, evaluation, latencyBatch });
    line(`batch ${latencyBatch}, at most ${by === "max" ? `${maxLatency.toFixed(2)} ms` : keepLatency}`, report);
  }
}
await runtime.close();

function line(what: string, { before, after, metric, layers, seconds }: Report): void {
  const [full = 1, time = 1] = [before.latencyMs?.median, after.latencyMs?.median];
  const dropped = layers.filter(({ after: left }) => left === 0).length;
  const total = Object.values(seconds).reduce((sum, s) => sum + s, 0);
  const accuracy = metric === null ? "" : `, accuracy ${(100 * metric.after).toFixed(2)} %`;
  console.log(
    `${what}: ${time.toFixed(2)} of ${full.toFixed(2)} ms (${(time / full).toFixed(3)}), MACs ${(after.macs / before.macs).toFixed(3)}, ${dropped} branches dropped${accuracy}, ${total.toFixed(0)} s`,
  );
}
