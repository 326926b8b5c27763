/**
 * Differentiates twelve real architectures and compares every parameter's gradient with PyTorch's in float64.
 * Usage: npx tsx bench/model-gradients.ts [MODEL ...]; writes docs/results/gradients.md when all models run.
 */
import { writeFileSync } from "node:fs";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { allowed, type Comparison, compareModel, differentiated } from "../test/gradients/models.ts";

const runtime = await openRuntime({ threads: 2, worker: false });
const asked = process.argv.slice(2);
const rows: string[] = [];
let failed = 0;
try {
  for (const [name, mode] of differentiated) {
    if (asked.length > 0 && !asked.includes(name)) continue;
    const row = await compareModel(runtime, name, mode).then(summary, (error: unknown) => {
      failed++;
      return `| ${error instanceof Error ? error.message : String(error)} | | | |`;
    });
    rows.push(`| ${name}${mode === "training" ? ", statistics of the batch" : ""} ${row}`);
    console.log(rows.at(-1));
  }
} finally {
  await runtime.close();
}
console.log(`${rows.length - failed} of ${rows.length} pass`);
if (asked.length === 0) writeFileSync(new URL("../docs/results/gradients.md", import.meta.url), page());
process.exitCode = failed > 0 ? 1 : 0;

function summary(found: readonly Comparison[]): string {
  const outside = found.filter((one) => !(one.error <= allowed(one)));
  if (outside.length > 0) failed++;
  const errors = found.map(({ error }) => error).sort((a, b) => a - b);
  const worst = found.reduce((a, b) => (b.error > a.error ? b : a));
  const middle = errors[Math.floor(errors.length / 2)] ?? Number.NaN;
  const verdict = outside.length === 0 ? "yes" : `no: ${outside.map(({ name }) => name).join(", ")}`;
  return `| ${found.length} | ${short(middle)} | ${short(worst.error)} (PyTorch ${short(worst.torch)}) | ${verdict} |`;
}

function short(value: number): string {
  return value.toExponential(1);
}

function page(): string {
  return `# Gradients of whole models

Every parameter of twelve architectures, with made-up weights and two small inputs: how far the gradient that espalier
writes lies from PyTorch's in float64, relative to its norm. It passes where that is at most 1e-3, or three times the
error of PyTorch's own float32 where this is more. Where a gradient is zero but for rounding, the error is relative to the
largest norm of the model's gradients. Rows with "statistics of the batch" train their norms, and compare the running
statistics after the step too; the others hold them fixed. Distances are estimated from eight random projections of each
gradient, which the fixture keeps instead of the gradient (\`test/export/gradients.py\`, PyTorch 1.13).

| model | tensors | median error | largest error | passes |
| --- | ---: | ---: | ---: | --- |
${rows.join("\n")}

Measured with \`npx tsx bench/model-gradients.ts\` on ${runtime.version}, one machine with two cores, float32.
\`test/gradients/models.test.ts\` runs resnet18, mobilenet_v3_small, bert, lstm and llama at every check.
`;
}
