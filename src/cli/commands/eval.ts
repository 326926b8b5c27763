import { EspalierError, type EvaluationReport, evaluate, load } from "../../index.node.ts";
import { answersTo } from "../answers.ts";
import { command, integer, string } from "../command.ts";
import { dataFor, dataOptions, given, modelOptions, withRuntime } from "../shared-options.ts";
import { compact, counted, metricCount, metricText, percent } from "../table.ts";

export const evalCommand = command({
  name: "eval",
  summary: "Measure accuracy where there are labels, nearness to a reference model, and latency.",
  args: ["<model>"],
  options: {
    data: string("DATA", "Inputs, labelled or not: a folder of images, .npy, .npz, idx, CIFAR .bin, text, or random."),
    task: string("FILE", "Questions in .jsonl: context with choices and gold, or with target and until (see docs)."),
    reference: string("MODEL", "The model before pruning: how near the answers are, and how much faster."),
    ...dataOptions,
    limit: integer("N", "At most this many samples, the first ones.", 1, 1e9),
    batch: integer("N", "Batch of the latency measurement; 1 unless told.", 1, 4096),
    ...modelOptions,
  },
  examples: [
    "espalier eval small.onnx --data test.npz --scale 0.00392157",
    "espalier eval small.onnx --data test.npz --scale 0.00392157 --reference model.onnx --json",
    "espalier eval llama --data text.txt --window 32 --stride 16",
    "espalier eval llama --task questions.jsonl",
  ],
  async run([path = ""], options, host) {
    if (options.task !== undefined) {
      host.print(await answersTo(options.task, path, options, host));
      return;
    }
    if (options.data === undefined) {
      throw new EspalierError("request", "--data", "expected inputs to run on, got none.", "Give --data test.npz.");
    }
    const model = await load(path, { fix: options.fix });
    const reference = options.reference === undefined ? null : await load(options.reference, { fix: options.fix });
    const data = await dataFor(model, options.data, options, given({ limit: options.limit, labels: options.labels }));
    const report = await withRuntime(options, host, (runtime) =>
      evaluate(model, {
        runtime,
        data,
        reference,
        shapes: options.shape,
        latencyBatch: options.batch ?? 1,
        progress: host.progress,
        signal: host.signal,
      }),
    );
    host.print(options.json ? JSON.stringify(report) : evaluationText(report));
  },
});

function evaluationText(report: EvaluationReport): string {
  const { metric, referenceMetric, fidelity, latencyMs, referenceLatencyMs, device } = report;
  const lines = [`${report.model}: ${compact(report.params)} parameters, ${compact(report.macs)} MACs a sample`];
  lines.push(`Data: ${report.data}`);
  if (metric !== null) {
    const { name, value, n } = metric;
    const other = referenceMetric === null ? "" : `, ${metricText(name, referenceMetric)} of the reference`;
    lines.push(`${name}: ${metricText(name, value)}${other} (${metricCount(name, n)})`);
  }
  if (fidelity !== null) {
    const top = fidelity.topAgreement === null ? "" : `same answer on ${percent(fidelity.topAgreement, 1)}, `;
    const kl = fidelity.kl === null ? "" : `KL ${fidelity.kl.toPrecision(3)} nats, `;
    lines.push(`Against the reference: ${top}${kl}relative error ${fidelity.relativeError.toPrecision(3)}`);
  }
  if (latencyMs !== null) {
    const range = `p10 ${latencyMs.p10.toPrecision(3)}, p90 ${latencyMs.p90.toPrecision(3)}`;
    const other =
      referenceLatencyMs === null
        ? ""
        : `; the reference ${referenceLatencyMs.median.toPrecision(3)} ms, so ${percent(latencyMs.median, referenceLatencyMs.median)} of its time`;
    lines.push(
      `${latencyMs.median.toPrecision(3)} ms a run (${range}; ${device.name}, batch ${device.batch}, ${counted(device.threads, "thread")})${other}`,
    );
  }
  return lines.join("\n");
}
