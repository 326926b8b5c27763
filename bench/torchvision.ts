/**
 * Prunes 30 % of every group of every torchvision classification model, by L2 and at random, from a file to a file.
 * Usage: npx tsx bench/torchvision.ts [MODEL ...]; writes docs/results/torchvision.md when all models run.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { couple } from "../src/coupling/couple.ts";
import { magnitude } from "../src/criteria/magnitude.ts";
import { random } from "../src/criteria/random.ts";
import { openOnnx } from "../src/formats/onnx/external.node.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import { verify } from "../src/graph/verify.ts";
import { analyse } from "../src/models/analysis.ts";
import { openRuntime } from "../src/runtime/open-runtime.node.ts";
import { cut } from "../src/surgery/cut.ts";
import { checkLaw } from "../src/surgery/law.ts";
import { masked } from "../src/surgery/masked.ts";
import { openSkeletons } from "../test/fixtures/skeletons.ts";
import { feedsOf, floats, masksOf } from "../test/laws.ts";

interface Row {
  readonly name: string;
  readonly params: number;
  readonly groups: string;
  readonly left: string;
  readonly law: string;
  readonly seconds: string;
  readonly coupling: string;
  readonly check: string;
  readonly ok: boolean;
}

const skeletons = openSkeletons(new URL("../test/fixtures/torchvision.br", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "espalier-"));
const runtime = await openRuntime({ threads: 2, worker: false });
const asked = process.argv.slice(2);
const names = asked.length > 0 ? asked : skeletons.names;
const rows: Row[] = [];
try {
  for (const name of names) {
    const row = await one(name).catch((error: unknown) => failed(name, error));
    rows.push(row);
    console.log(Object.values(row).join("  "));
  }
} finally {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
}
const passed = rows.filter(({ ok }) => ok).length;
console.log(`${passed} of ${rows.length} pass`);
if (asked.length === 0) writeFileSync(new URL("../docs/results/torchvision.md", import.meta.url), report());

async function one(name: string): Promise<Row> {
  const file = join(folder, "model.onnx");
  await saveOnnx(await skeletons.model(name), file);
  const start = performance.now();
  const model = await openOnnx(file);
  const analysis = await analyse(model.graph, runtime);
  const masks = await masksOf(analysis, magnitude(2));
  const small = await cut(model.graph, analysis.coupling, analysis.facts, masks);
  await saveOnnx({ ...model, graph: small }, join(folder, "small.onnx"));
  const whole = (performance.now() - start) / 1000;
  const coupled = performance.now();
  couple(model.graph, analysis.facts);
  const coupling = (performance.now() - coupled) / 1000;
  const feeds = await feedsOf(analysis);
  const checked = performance.now();
  const law = await checkLaw(
    runtime,
    masked(model.graph, analysis.coupling, analysis.facts, masks),
    verify((await openOnnx(join(folder, "small.onnx"))).graph),
    [feeds],
  );
  const check = (performance.now() - checked) / 1000;
  const other = await masksOf(analysis, random(7));
  const second = await checkLaw(
    runtime,
    masked(model.graph, analysis.coupling, analysis.facts, other),
    verify(await cut(model.graph, analysis.coupling, analysis.facts, other)),
    [feeds],
  );
  const left = floats(small) / floats(model.graph);
  const free = analysis.coupling.groups.filter(({ blocked }) => blocked.length === 0).length;
  const worst = Math.max(law.relative, second.relative);
  return {
    name,
    params: floats(model.graph),
    groups: `${free}/${analysis.coupling.groups.length}`,
    left: `${(100 * left).toFixed(1)} %`,
    law: worst.toExponential(1),
    seconds: (whole - coupling).toFixed(2),
    coupling: coupling.toFixed(2),
    check: check.toFixed(2),
    ok: law.passed && second.passed && left <= 0.75,
  };
}

function failed(name: string, error: unknown): Row {
  const law = error instanceof Error ? error.message.slice(0, 120) : String(error);
  return { name, params: 0, groups: "-", left: "-", law, seconds: "-", coupling: "-", check: "-", ok: false };
}

function report(): string {
  const head = [
    "model",
    "parameters",
    "free groups",
    "parameters left",
    "law",
    "file to file, s",
    "coupling, s",
    "law check, s",
  ];
  const body = rows.map((row) => {
    const cells = [row.name, row.params, row.groups, row.left, row.law, row.seconds, row.coupling, row.check];
    return `| ${cells.join(" | ")} |`;
  });
  return `# Torchvision architectures

30 % of every group removed, by L2 and at random; seeded weights, norm scales, biases and statistics. "law" is the
largest relative difference between the cut and the masked network on random inputs, of both criteria. Measured by
\`npx tsx bench/torchvision.ts\` on ${runtime.threads} threads; times include reading and writing the file.

**${passed} of ${rows.length} pass** (valid, law within 1e-4, at most 75 % of the parameters left).

| ${head.join(" | ")} |
|${head.map(() => " --- ").join("|")}|
${body.join("\n")}
`;
}
