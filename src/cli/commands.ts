import type { Command } from "./command.ts";
import { compareCommand } from "./compare.ts";
import { evalCommand } from "./eval.ts";
import { explainCommand } from "./explain.ts";
import { exportCommand } from "./export.ts";
import { generateCommand } from "./generate.ts";
import { inspectCommand } from "./inspect.ts";
import { papersCommand } from "./papers.ts";
import { pruneCommand } from "./prune.ts";
import { runCommand } from "./run.ts";
import { sensitivityCommand } from "./sensitivity.ts";
import { trainCommand } from "./train.ts";

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
