/** What a cell of the tables is of. */
export type Part = "weights" | "units" | "depth";

/** One pruning of one draw, judged on the test windows. */
export interface Cell {
  readonly part: Part;
  readonly method: string;
  /** How much went: "50 %", "2:4", "2 blocks". */
  readonly column: string;
  readonly recovery: string;
  readonly draw: number;
  /** Share of the weights of the blocks, or of all parameters, that really went. */
  readonly really: number;
  /** Mean negative log-likelihood of the next token, in nats. */
  readonly nll: number;
  readonly accuracy: number;
  readonly seconds: number;
}

/** All of one testbed. */
export interface Run {
  readonly id: string;
  readonly description: string;
  /** Settings that cells depend on. */
  readonly told: Readonly<Record<"calibration" | "window" | "updates" | "batch" | "samples", number>>;
  readonly dense: { readonly nll: number; readonly accuracy: number; readonly tokens: number };
  readonly cells: Cell[];
}

/** The name of a cell, the same in every run. */
export function keyOf({
  part,
  method,
  column,
  recovery,
  draw,
}: Omit<Cell, "really" | "nll" | "accuracy" | "seconds">): string {
  return [part, method, column, recovery, draw].join(" | ");
}

const titles: Readonly<Record<Part, string>> = {
  weights: "Single weights of the blocks, the same share of every matrix",
  units: "Heads and neurons, a share of all parameters",
  depth: "Whole blocks, an attention and its MLP",
};

/** Pairs of methods of which the first is known to cost no more than the second. */
const orders: Readonly<Record<Part, readonly (readonly [better: string, than: string])[]>> = {
  weights: [
    ["SparseGPT", "Wanda"],
    ["Wanda", "magnitude"],
    ["magnitude", "random"],
    ["GBLM", "Wanda"],
  ],
  units: [
    ["FLAP", "random"],
    ["LLM-Pruner", "random"],
    ["MAW", "random"],
    ["FLAP", "MAW"],
    ["FLAP + bias", "FLAP"],
    ["FLAP + lsq", "FLAP + bias"],
    ["LLM-Pruner + LoRA", "LLM-Pruner"],
  ],
  depth: [
    ["ShortGPT", "random"],
    ["ShortGPT", "last"],
  ],
};

/** The order of rows. */
const rows = ["random", "magnitude", "last", "MAW", "Wanda", "GBLM", "SparseGPT", "FLAP", "LLM-Pruner", "ShortGPT"];

/** Methods in which nothing is drawn, so that they are measured once. */
export const drawnOnce: ReadonlySet<string> = new Set(["magnitude", "last", "MAW"]);

const repairs = ["none", "bias", "lsq", "LoRA"];

const byRow = (a: Pick<Cell, "method" | "recovery">, b: typeof a): number =>
  rows.indexOf(a.method) - rows.indexOf(b.method) || repairs.indexOf(a.recovery) - repairs.indexOf(b.recovery);

const nameOf = ({ method, recovery }: Pick<Cell, "method" | "recovery">): string =>
  recovery === "none" ? method : `${method} + ${recovery}`;

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;

/** What was measured of a known order at one column: whether it holds on average and in how many draws; null without both. */
export function orderAt(
  cells: readonly Cell[],
  [better, than]: readonly [string, string],
  column: string,
): { readonly holds: boolean; readonly difference: number; readonly wins: number; readonly draws: number } | null {
  const [a, b] = [better, than].map((name) => {
    const own = cells.filter((cell) => cell.column === column && nameOf(cell) === name);
    return new Map(own.map(({ draw, nll }) => [draw, nll]));
  });
  if (a === undefined || b === undefined || a.size === 0 || b.size === 0) return null;
  // What is not drawn stands beside every draw of the other.
  const at = (name: string, values: ReadonlyMap<number, number>, draw: number): number =>
    (drawnOnce.has(name.split(" + ")[0] ?? "") ? values.get(0) : values.get(draw)) ?? Number.NaN;
  const differences = [...new Set([...a.keys(), ...b.keys()])]
    .map((draw) => at(than, b, draw) - at(better, a, draw))
    .filter((difference) => !Number.isNaN(difference));
  if (differences.length === 0) return null;
  const difference = mean(differences);
  return {
    holds: difference >= 0,
    difference,
    wins: differences.filter((d) => d >= 0).length,
    draws: differences.length,
  };
}

function table(run: Run, part: Part, value: (cells: readonly Cell[]) => string): string {
  const own = run.cells.filter((cell) => cell.part === part);
  const columns = [...new Set(own.map(({ column }) => column))];
  const names = [...new Set(own.toSorted(byRow).map(nameOf))];
  const lines = names.map((name) => {
    const cells = columns.map((column) => value(own.filter((cell) => cell.column === column && nameOf(cell) === name)));
    return `| ${name} | ${cells.join(" | ")} |`;
  });
  return [`| | ${columns.join(" | ")} |`, `| --- |${columns.map(() => " ---: |").join("")}`, ...lines].join("\n");
}

function orderTable(run: Run, part: Part): string {
  const own = run.cells.filter((cell) => cell.part === part);
  const columns = [...new Set(own.map(({ column }) => column))];
  const lines = orders[part].flatMap((pair) => {
    const found = columns.map((column) => orderAt(own, pair, column));
    if (found.every((one) => one === null)) return [];
    const cells = found.map((one) => {
      if (one === null) return "";
      const { holds, difference, wins, draws } = one;
      return `${holds ? "holds" : "**fails**"} (${difference >= 0 ? "+" : ""}${difference.toFixed(3)}, ${wins} of ${draws})`;
    });
    return [`| ${pair[0]} ≤ ${pair[1]} | ${cells.join(" | ")} |`];
  });
  return [`| known order | ${columns.join(" | ")} |`, `| --- |${columns.map(() => " ---: |").join("")}`, ...lines].join(
    "\n",
  );
}

function excess(cells: readonly Cell[], dense: number): string {
  if (cells.length === 0) return "";
  const above = cells.map(({ nll }) => nll - dense);
  const spread = cells.length < 2 ? "" : ` (${Math.min(...above).toFixed(3)} to ${Math.max(...above).toFixed(3)})`;
  return `${mean(above).toFixed(3)}${spread}`;
}

function runSection(run: Run): string {
  const { id, description, dense, told, cells } = run;
  const perplexity = (nll: number): string => Math.exp(nll).toFixed(nll > 7 ? 0 : 2);
  const seconds = cells.reduce((sum, cell) => sum + cell.seconds, 0);
  const sections = (["weights", "units", "depth"] as const).flatMap((part) => {
    const own = cells.filter((cell) => cell.part === part);
    if (own.length === 0) return [];
    const shares = own.filter(({ column }) => part !== "depth" && column.endsWith("%"));
    const off = Math.max(0, ...shares.map(({ column, really }) => Math.abs(really - Number.parseFloat(column) / 100)));
    const patterns = own.filter(({ column }) => column.includes(":"));
    const said = [
      ...(shares.length === 0
        ? []
        : [`What really went is within ${(100 * off).toFixed(1)} points of what a column says`]),
      ...(patterns.length === 0
        ? []
        : [
            `patterns removed ${(100 * Math.min(...patterns.map(({ really }) => really))).toFixed(1)} to ${(100 * Math.max(...patterns.map(({ really }) => really))).toFixed(1)} % (what is left over at the end of a row is a shorter group)`,
          ]),
    ];
    return [
      `### ${titles[part]}`,
      "Nats above the dense model, mean (least to most of the draws):",
      table(run, part, (found) => excess(found, dense.nll)),
      "Perplexity, of the mean loss:",
      table(run, part, (found) => (found.length === 0 ? "" : perplexity(mean(found.map(({ nll }) => nll))))),
      "By how many nats the first is better, and in how many draws:",
      orderTable(run, part),
      ...(said.length === 0 ? [] : [`${said.join("; ")}.`]),
    ];
  });
  return [
    `## ${id}`,
    `${description}. Dense: ${dense.nll.toFixed(3)} nats, perplexity ${perplexity(dense.nll)} (${dense.tokens} tokens). ${told.calibration} calibration windows of ${told.window} tokens a draw; LoRA: ${told.updates} updates of ${told.batch} windows of the pool, rank 8, taught by the dense model. ${cells.length} cells in ${Math.round(seconds / 60)} minutes on a busy processor.`,
    ...sections,
  ].join("\n\n");
}

/** The page of all testbeds. */
export function languagePage(runs: readonly Run[]): string {
  return `${[
    "# What pruning costs language models",
    "Written by `bench/language.ts` from `language.json`; no number was typed. Texts to test and to calibrate do not overlap. All methods are calibrated on the dense model. Random removal, and magnitude where it needs no data, are the baselines; what is drawn (calibration windows, chance) is drawn anew for each draw, what is not is measured once. A known order *holds* where the mean over the draws says so.",
    ...runs.map(runSection),
  ].join("\n\n")}\n`;
}
