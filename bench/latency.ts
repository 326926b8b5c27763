import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { onResidual } from "../src/criteria/error-curves.ts";
import { openData } from "../src/data/open.node.ts";
import { readOnnx } from "../src/formats/onnx/read.ts";
import { fileSource } from "../src/formats/source/file.node.ts";
import { analyse } from "../src/models/analysis.ts";
import { latencyFeeds } from "../src/pipeline/latency-feeds.ts";
import { applySelection, selectForLatency } from "../src/pipeline/select-latency.ts";
import { leastSquares } from "../src/recovery/lsq.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { unitSelector } from "../src/search/select-units.ts";
import { accuracy } from "../src/stats/fidelity.ts";
import { keptPositions } from "../src/surgery/kept.ts";

/** A share of the original's measured time, on one thread, without fine-tuning; free widths at half of the MACs beside it. */
const { values: options } = parseArgs({
  options: {
    model: { type: "string", default: "resnet56-cifar10" },
    share: { type: "string", default: "0.65" },
    batches: { type: "string", default: "1,64" },
    test: { type: "string", default: "10000" },
    free: { type: "boolean", default: false },
  },
});
const data = resolve(process.env["ESPALIER_DATA"] ?? join(import.meta.dirname, "../../shared/data"));
const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
const model = await readOnnx(await fileSource(join(data, "models", `${options.model}.onnx`)));
const analysis = await analyse(model.graph, runtime);
const form = { mean: [0.485, 0.456, 0.406], std: [0.229, 0.224, 0.225], inputs: analysis.graph.inputs };
const calibration = await openData(join(data, "cifar10/train-10k.bin"), { ...form, limit: 512, seed: 0 });
const test = await openData(join(data, "cifar10/test.bin"), { ...form, limit: Number(options.test) });
const residual = onResidual(analysis);
const groups = analysis.coupling.groups.filter((group) => group.blocked.length === 0 && !residual(group));
const selector = await unitSelector({ runtime, analysis, groups, calibration, batchSize: 64 });
const share = Number(options.share);
for (const batch of options.batches.split(",").map(Number)) {
  const found = await selectForLatency(runtime, analysis, selector, { share, batch });
  const kept = keptPositions(analysis.coupling, found.selection.masks);
  const context = { runtime, original: analysis, kept, pruned: found.graph, calibration, batchSize: 64, job: {} };
  const graph = await leastSquares().apply(context);
  const { value } = await accuracy(runtime, graph, test, { batchSize: 250 });
  const { before, after, selection } = found;
  const times = `${after.medianMs.toFixed(2)} of ${before.medianMs.toFixed(2)} ms (${(after.medianMs / before.medianMs).toFixed(3)})`;
  const widths = [...selection.counts.values()].join(" ");
  process.stdout.write(
    `batch ${batch}: ${times}, ${(100 * value).toFixed(2)} %, target MACs ${found.macs.toFixed(3)}, widths ${widths}\n`,
  );
  if (!options.free) continue;
  const free = selector.select({ kind: "macs", keep: 0.5 }, { dropBranches: false });
  const sessions = [analysis.graph, await applySelection(analysis, free)].map((each) => runtime.compile(each));
  const feeds = await latencyFeeds(analysis, batch);
  const timed = await runtime.measure(
    (await Promise.all(sessions)).map((session) => ({ session, feeds })),
    { runs: 15 },
  );
  const [full, half] = timed;
  if (full === undefined || half === undefined) continue;
  process.stdout.write(
    `batch ${batch}: free widths at half of the MACs take ${(half.medianMs / full.medianMs).toFixed(3)}\n`,
  );
}
await runtime.close();
