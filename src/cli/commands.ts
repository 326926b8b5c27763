import type { Command } from "./command.ts";
import { compareCommand } from "./commands/compare.ts";
import { evalCommand } from "./commands/eval.ts";
import { explainCommand } from "./commands/explain.ts";
import { exportCommand } from "./commands/export.ts";
import { generateCommand } from "./commands/generate.ts";
import { inspectCommand } from "./commands/inspect.ts";
import { papersCommand } from "./commands/papers.ts";
import { pruneCommand } from "./commands/prune.ts";
import { runCommand } from "./commands/run.ts";
import { sensitivityCommand } from "./commands/sensitivity.ts";
import { trainCommand } from "./commands/train.ts";

/** Every command, in the order of --help. */
export const commands: readonly Command[] = [
  inspectCommand,
  pruneCommand,
  runCommand,
  evalCommand,
  sensitivityCommand,
  compareCommand,
  trainCommand,
  generateCommand,
  exportCommand,
  explainCommand,
  papersCommand,
];
