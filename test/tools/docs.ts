import { readFileSync } from "node:fs";
import { architectures } from "../../src/models/architectures/registry.ts";
import { operators } from "../../src/ops/table.ts";
import { cataloguePage } from "../../src/papers/catalogue.ts";
import { papers } from "../../src/papers/registry.ts";
import { openFixtures } from "../checkpoints/fixtures.ts";
import { caseName, comparedWith, gradientWords } from "../gradients/describe.ts";
import { layers } from "./layer-list.ts";

const yes = (rule: unknown): string => (rule === null ? "" : "yes");

/** docs/ops.md: every operator with what espalier knows of it. */
export function operatorPage(): string {
  const rows = operators().map((entry) => {
    const { domain, op, spec } = entry;
    const roles = Object.keys(spec.roles ?? {}).join(", ");
    const gradient = gradientWords(spec.grad);
    const compared = comparedWith(caseName(entry)).join(", ");
    return `| ${op} | ${domain === "" ? "ai.onnx" : domain} | ${yes(spec.resize)} | ${yes(spec.macs)} | ${yes(spec.kernels)} | ${roles} | ${gradient} | ${compared} |`;
  });
  return `# Operators

Written by \`npm run docs\` from \`src/ops/table.ts\` and the cases of \`test/gradients\`; change those, not this page.

${rows.length} operators have an axis rule: how removing positions of one operand removes positions of the others. Any other
operator is carried as it is, runs as before, and what it touches stays whole: \`espalier inspect\` names it.

- **resize**: attributes or size lists of the node itself follow the cut.
- **MACs**: it is counted; the others cost little beside these, and papers do not count them.
- **matrix**: it holds a trained matrix, which criteria score and recovery refits.
- **roles**: operands that are a norm's scale, shift or statistics, and operators that only carry their input on.
- **gradient**: *rule*: it has one of its own; *by other operators*: it is written with those first; *flat*: its result is
  constant almost everywhere, so nothing flows back; *none*: a model that would need it is refused by its name, before
  anything trains.
- **compared with**: what its derivatives, first and second, were held against, and in how many forms. *Differences f64*:
  central differences in double precision, to 1e-6; *differences f32*: along random directions, to 1e-2, where the runtime
  has no doubles; *PyTorch*: its gradients in double precision, to 1e-5 of their norm in float32; *own outputs*:
  what it is written with gives what the runtime's own operator gives.

| operator | domain | resize | MACs | matrix | roles | gradient | compared with |
| --- | --- | --- | --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
}

/** docs/checkpoints.md: what checkpoints are read, and what is held against what. */
export function checkpointPage(): string {
  const { cases } = openFixtures();
  const rows = architectures.map(({ types, kind }) => {
    const compared = cases.filter(({ config }) => types.includes(String(config["model_type"])));
    const names = compared.map(({ name }) => name).join(", ");
    return `| ${types.map((type) => `\`${type}\``).join(", ")} | ${kind} | ${names} |`;
  });
  return `# Checkpoints

Written by \`npm run docs\` from \`src/models/architectures/registry.ts\` and the fixtures of \`test/checkpoints\`; change those,
not this page.

A folder with \`config.json\` and \`.safetensors\` files is a model when its \`model_type\` is one of these. Weights may be
float32, float16, bfloat16 or float8; they stay in their files until they are needed. Any other model is exported to ONNX
and pruned as such.

Each is held against PyTorch in double precision, written for the test from papers and configs: hidden states and results of
tiny models with random weights differ by at most 1e-4 of the largest value. 30 % of every group of every one of them is cut
by the law.

| \`model_type\` | kind | cases that are compared |
| --- | --- | --- |
${rows.join("\n")}
`;
}

/** The table of folders in docs/architecture.md. */
export function layerTable(): string {
  const rows = layers.map(
    ({ folders, holds }, i) => `| ${i} | ${folders.map((folder) => `\`src/${folder}\``).join(", ")} | ${holds} |`,
  );
  return ["| step | folders | what lives there |", "| --- | --- | --- |", ...rows].join("\n");
}

/** Replaces what stands between two markers of a page; throws when the page lost them. */
export function between(page: string, name: string, text: string): string {
  const [start, end] = [`<!-- ${name}: written by npm run docs -->`, `<!-- end of ${name} -->`];
  const [from, to] = [page.indexOf(start), page.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`expected the markers "${start}" and "${end}"`);
  return `${page.slice(0, from + start.length)}\n${text}\n${page.slice(to)}`;
}

/** Every generated page: its path and what it should say now. */
export function generatedPages(): ReadonlyMap<string, string> {
  const architecture = readFileSync("docs/architecture.md", "utf8");
  return new Map([
    ["docs/ops.md", operatorPage()],
    ["docs/checkpoints.md", checkpointPage()],
    ["docs/papers.md", cataloguePage(papers)],
    ["docs/architecture.md", between(architecture, "layers", layerTable())],
  ]);
}

/** The codes that src/tensor/error.ts declares, in its order. */
export function errorCodes(source: string): readonly string[] {
  const union = /export type ErrorCode =([^;]*);/.exec(source)?.[1] ?? "";
  return [...union.matchAll(/\| "([a-z-]+)"/g)].map(([, code = ""]) => code);
}

/** The headings of a page at one depth. */
export function headings(page: string, depth: number): readonly string[] {
  return [...page.matchAll(/^(#+) (.*)$/gm)].flatMap(([, marks = "", text = ""]) =>
    marks.length === depth ? [text.replaceAll("`", "")] : [],
  );
}

/** Relative links of a page, without their anchors. */
export function links(page: string): readonly string[] {
  return [...page.matchAll(/\]\((?!https?:|#)([^)#\s]+)[^)]*\)/g)].map(([, path = ""]) => path);
}
