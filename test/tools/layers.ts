import { readdirSync, readFileSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { cruise } from "dependency-cruiser";
import { operators } from "../../src/ops/table.ts";
import { forbidden } from "./layer-list.ts";

/** What was looked at and what is wrong with it, one sentence for each finding. */
export interface Findings {
  readonly files: number;
  readonly imports: number;
  readonly problems: readonly string[];
}

const isTest = (path: string): boolean => /\.test\.ts$/.test(path);

/** Files that only ever run in Node: the command line and what is named so. */
const isNodeOnly = (path: string): boolean => path.startsWith("cli/") || /\.node\.ts$/.test(path);

/** Imports below `root` that go against the order, cross into Node or reach a package past its only importer. */
export async function checkImports(root: string): Promise<Findings> {
  const { output } = await cruise([root], {
    parser: "swc",
    tsPreCompilationDeps: true,
    doNotFollow: { path: "node_modules" },
  });
  if (typeof output === "string") throw new Error(`expected a list of modules, got ${output}`);
  const problems: string[] = [];
  const inside = (path: string): string => relative(root, path).split(sep).join("/");
  let files = 0;
  let imports = 0;
  for (const { source, dependencies } of output.modules) {
    const from = inside(source);
    if (from.startsWith("..") || from.includes("node_modules") || !from.endsWith(".ts")) continue;
    files++;
    for (const { resolved, module, coreModule, couldNotResolve } of dependencies) {
      imports++;
      if (isTest(from)) continue;
      if (coreModule || module.startsWith("node:")) {
        if (!isNodeOnly(from))
          problems.push(
            `${from} imports Node's ${module.replace("node:", "")}, but only cli and *.node.ts run in Node alone`,
          );
        continue;
      }
      if (/^onnxruntime-/.test(module)) {
        if (!from.startsWith("runtime/")) problems.push(`${from} imports ${module}, which is for src/runtime only`);
        continue;
      }
      if (couldNotResolve && module.startsWith(".")) problems.push(`${from} imports ${module}, which does not exist`);
      const to = inside(resolved);
      if (to.startsWith("..") || to.includes("node_modules")) continue;
      if (isTest(to)) problems.push(`${from} imports the test ${to}`);
      const because = forbidden(from, to);
      if (because !== null) problems.push(`${from} imports ${to}: ${because}`);
    }
  }
  return { files, imports, problems };
}

interface Ban {
  readonly pattern: RegExp;
  readonly instead: string;
  /** Where it may stand after all. */
  readonly except: (path: string) => boolean;
}

const nowhere = (): boolean => false;

const bannedWords: readonly Ban[] = [
  { pattern: /\bMath\.random\b/, instead: "a seed is an argument: tensor/random.ts", except: nowhere },
  {
    pattern: /\bnew Date\b|\bDate\.(now|parse|UTC)\b/,
    instead: "results do not depend on the day; time with performance.now()",
    except: nowhere,
  },
  { pattern: /\bconsole\b\s*\./, instead: "answers go through the host of a command", except: nowhere },
  { pattern: /(?<![.\w])(process\.|Buffer\b)/, instead: "browsers do not have it", except: isNodeOnly },
];

/** Operator names are compared where operators and the file format are defined, and nowhere else. */
const comparesNames = (path: string): boolean => path.startsWith("ops/") || path.startsWith("formats/");

/** Words below `root` that have no place there. */
export function checkWords(root: string): Findings {
  const names = new Set(operators().map(({ op }) => op));
  const problems: string[] = [];
  let files = 0;
  for (const entry of readdirSync(root, { recursive: true, encoding: "utf8" }).sort()) {
    const path = entry.split(sep).join("/");
    if (!path.endsWith(".ts") || isTest(path)) continue;
    files++;
    for (const [i, line] of readFileSync(join(root, path), "utf8").split("\n").entries()) {
      const code = /^\s*(\*|\/\*|\/\/)/.test(line) ? "" : line;
      for (const { pattern, instead, except } of bannedWords) {
        const found = except(path) ? null : pattern.exec(code);
        if (found !== null) problems.push(`${path}:${i + 1} says ${found[0]}: ${instead}`);
      }
      if (comparesNames(path)) continue;
      for (const [, before, after, label] of code.matchAll(/[!=]==? "(\w+)"|"(\w+)" [!=]==?|case "(\w+)"/g)) {
        const name = before ?? after ?? label ?? "";
        if (names.has(name)) problems.push(`${path}:${i + 1} asks for the operator ${name}: that belongs in src/ops`);
      }
    }
  }
  return { files, imports: 0, problems };
}
