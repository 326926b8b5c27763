/**
 * Prunes 30 % of every group of every torchvision classification model, by L2 and at random, from a file to a file.
 * Usage: npx tsx bench/torchvision.ts [--runs N] [MODEL ...]. Times are the median of N runs (default 1), with the least
 * beside it where there are several. The rows are printed as docs/results/torchvision.md has them; several runs also tell
 * the seconds of processor, of all threads, which depend less on what else the machine does.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { couple } from "../src/coupling/couple.ts";
import { magnitude } from "../src/criteria/weights/magnitude.ts";
import { random } from "../src/criteria/weights/random.ts";
import { openOnnx } from "../src/formats/onnx/external.node.ts";
import { saveOnnx } from "../src/formats/onnx/save.node.ts";
import { verify } from "../src/graph/passes/verify.ts";
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
  readonly processor: string;
  readonly ok: boolean;
}

const { values: options, positionals: asked } = parseArgs({
  allowPositionals: true,
  options: { runs: { type: "string", default: "1" } },
});
const skeletons = openSkeletons(new URL("../test/fixtures/torchvision.br", import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "espalier-"));
const runtime = await openRuntime({ threads: 2, worker: false });
const names = asked.length > 0 ? asked : skeletons.names;
const rows: Row[] = [];
try {
  for (const name of names) {
    const row = await one(name).catch((error: unknown) => failed(name, error));
    rows.push(row);
    if (Number(options.runs) > 1) console.log(`${name}: ${row.seconds} s, ${row.processor} s of processor`);
    const { name: model, params, groups, left, law, seconds, coupling, check, ok } = row;
    console.log(
      `| ${[model, params, groups, left, law, seconds, coupling, check].join(" | ")} |${ok ? "" : " failed"}`,
    );
  }
} finally {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
}
const passed = rows.filter(({ ok }) => ok).length;
const load = loadavg().map((value) => value.toFixed(1));
console.log(`${passed} of ${rows.length} pass; ${runtime.threads} threads; load of the machine ${load.join(" ")}`);

async function one(name: string): Promise<Row> {
  const file = join(folder, "model.onnx");
  await saveOnnx(await skeletons.model(name), file);
  let run = await fileToFile(file);
  const times = [run.times];
  while (times.length < Number(options.runs)) {
    run = await fileToFile(file);
    times.push(run.times);
  }
  const { model, analysis, masks, small } = run;
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
    seconds: middle(times.map(({ seconds }) => seconds)),
    coupling: middle(times.map(({ coupling }) => coupling)),
    check: check.toFixed(2),
    processor: middle(times.map(({ processor }) => processor)),
    ok: law.passed && second.passed && left <= 0.75,
  };
}

/** Reads, analyses, scores, cuts and writes. The coupling is taken out of the time, by doing it again. */
async function fileToFile(file: string) {
  const start = performance.now();
  const before = process.cpuUsage();
  const model = await openOnnx(file);
  const analysis = await analyse(model.graph, runtime);
  const masks = await masksOf(analysis, magnitude(2));
  const small = await cut(model.graph, analysis.coupling, analysis.facts, masks);
  await saveOnnx({ ...model, graph: small }, join(folder, "small.onnx"));
  const whole = performance.now() - start;
  const { user, system } = process.cpuUsage(before);
  const coupled = performance.now();
  couple(model.graph, analysis.facts);
  const coupling = performance.now() - coupled;
  const times = { seconds: (whole - coupling) / 1000, coupling: coupling / 1000, processor: (user + system) / 1e6 };
  return { model, analysis, masks, small, times };
}

/** The median, and the least of several. */
function middle(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b);
  const median = ((sorted[(sorted.length - 1) >> 1] ?? 0) + (sorted[sorted.length >> 1] ?? 0)) / 2;
  return sorted.length === 1 ? median.toFixed(2) : `${median.toFixed(2)} (${(sorted[0] ?? 0).toFixed(2)})`;
}

function failed(name: string, error: unknown): Row {
  const law = error instanceof Error ? error.message.slice(0, 120) : String(error);
  return {
    name,
    params: 0,
    groups: "-",
    left: "-",
    law,
    seconds: "-",
    coupling: "-",
    check: "-",
    processor: "-",
    ok: false,
  };
}
