import type { Command } from "./command.ts";
import { inspectCommand } from "./inspect.ts";
import { papersCommand } from "./papers.ts";
import { pruneCommand } from "./prune.ts";

/** Every command, in the order of --help. */
export const commands: readonly Command[] = [inspectCommand, pruneCommand, papersCommand];
