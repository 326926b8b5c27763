import { type Axis, type PaperRecord, vocabulary } from "../claims/record.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import type { AnyPaper } from "./registry.ts";

const axes: Readonly<Record<Axis, string>> = {
  removes: "Removes",
  speedup: "Speed-up",
  when: "When",
  criterion: "Criterion",
  learn: "Learning",
  fusion: "Together with",
  data: "Data",
  supervision: "Supervision",
  scope: "Scope",
  iterations: "Steps",
  recovery: "Recovery",
  models: "Models",
  guarantee: "Guarantee",
};

function isAxis(name: string): name is Axis {
  return name in vocabulary;
}

const axisNames = Object.keys(axes).filter(isAxis);

/** The papers with a word on an axis, for each "axis=word". Throws `request` for words that are in no record. */
export function papersWhere(papers: readonly AnyPaper[], conditions: readonly string[]): readonly AnyPaper[] {
  const tests = conditions.map((condition) => {
    const [axis = "", word = ""] = condition.split("=");
    if (!isAxis(axis)) throw unknown(`--where ${condition}`, axis, axisNames);
    const words = Object.keys(vocabulary[axis]);
    if (!words.includes(word)) throw unknown(`--where ${condition}`, word, words);
    return (record: PaperRecord): boolean => wordsOf(record, axis).includes(word);
  });
  return papers.filter(({ record }) => tests.every((test) => test(record)));
}

/** The words of a record on an axis. */
function wordsOf(record: PaperRecord, axis: Axis): readonly string[] {
  return record[axis];
}

function unknown(where: string, got: string, known: readonly string[]): EspalierError {
  return new EspalierError(
    "request",
    where,
    `expected one of ${known.join(", ")}, got "${got}".`,
    didYouMean(got, known),
  );
}

/** What to know before choosing a paper's method, each sentence from its record. */
export function adviceOn({ record }: AnyPaper): readonly string[] {
  const has = (axis: Axis, word: string): boolean => wordsOf(record, axis).includes(word);
  const advice: string[] = [];
  if (!has("speedup", "structured"))
    advice.push("It sets weights to zero: smaller when compressed, not faster on ONNX Runtime.");
  if (has("data", "unlabelled")) {
    advice.push(
      has("data", "none")
        ? "With unlabelled inputs it can do more."
        : "It needs some unlabelled inputs of the kind that the model serves.",
    );
  }
  if (has("data", "labelled") || has("data", "training set")) advice.push("It needs labelled data.");
  if (record.gradients) advice.push("It needs gradients.");
  if (!record.weightUpdate && has("recovery", "none"))
    advice.push("What stays is not repaired: keep the share small or add a recovery.");
  return advice;
}

/** docs/papers.md: every paper with its record, settings, departures and advice. */
export function cataloguePage(papers: readonly AnyPaper[]): string {
  const rows = papers.map(({ id, summary, cite, record }) => {
    const cells = [
      `[${id}](#${id})`,
      `${cite.year}`,
      summary,
      record.removes.join(", "),
      record.when.join(", "),
      record.data.join(", "),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return `# Papers

Written by \`npm run docs\` from the records in \`src/papers\`; change these, not this page. What runs of them found is in
[results/papers.md](results/papers.md). \`espalier papers list --where axis=word\` searches by the words below.

| id | year | what it does | removes | when | data |
| --- | --- | --- | --- | --- | --- |
${rows.join("\n")}

${papers.map(paperSection).join("\n")}
## The words of the records

${axisNames
  .map(
    (axis) =>
      `- **${axis}**: ${Object.entries(vocabulary[axis])
        .map(([word, means]) => `*${word}* (${means})`)
        .join(", ")}.`,
  )
  .join("\n")}
`;
}

/** One paper as Markdown, for the page and for \`papers show\`. */
export function paperSection(paper: AnyPaper): string {
  const { id, summary, cite, code, golden, departures, record, options, exempt = {}, reproductions } = paper;
  const source = cite.arxiv === null ? "" : `, arXiv:${cite.arxiv}`;
  const records = axisNames.map((axis) => `${axes[axis].toLowerCase()} ${wordsOf(record, axis).join(", ")}`);
  const flags = `${record.gradients ? "uses" : "no"} gradients, ${record.weightUpdate ? "changes" : "keeps"} the weights that stay`;
  const claims = reproductions.map(({ on, claim, testbeds }) =>
    on === null
      ? `Claim that \`espalier papers run ${id}\` tests: ${claim}`
      : `On ${on}, \`espalier papers run ${id} --testbed ${testbeds[0]}\`: ${claim}`,
  );
  const settings = Object.entries(options).map(
    ([name, { takes, initial, help }]) => `- \`${name}\` (${takes}; ${initial}): ${help}`,
  );
  return `## ${id}

${summary}

${cite.title} (${cite.year}${source}; ${cite.equation}). Authors' code: ${code ?? "none public"}. Scores of that code: ${golden}

${claims.join("\n\n")}

Record: ${records.join("; ")}; ${flags}.

Settings:

${settings.join("\n")}

Where it differs from the paper or its code:

${departures.map((line) => `- ${line}`).join("\n")}
${Object.entries(exempt)
  .map(([law, why]) => `- Exempt from the law ${law}: ${why}\n`)
  .join("")}
${adviceOn(paper).join(" ")}
`;
}
