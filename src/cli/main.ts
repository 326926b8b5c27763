#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { Command as Commander, CommanderError, Option as Flag } from "commander";
import { EspalierError } from "../index.node.ts";
import { type Command, flagOf } from "./command.ts";
import { commands } from "./commands.ts";
import { nodeHost } from "./node-host.ts";

/** Exit codes: 0 done, 1 failed, 2 wrong usage; a signal is raised again once everything is put away. */
async function main(argv: readonly string[]): Promise<number> {
  const program = new Commander("espalier")
    .description("Prune any neural network and prove what it gained.")
    .version(String(JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version))
    .exitOverride()
    .configureHelp({ showGlobalOptions: true });
  let code = 0;
  for (const entry of commands) {
    attach(program, entry, (failed) => {
      code = failed;
    });
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
}

function attach(program: Commander, entry: Command, fail: (code: number) => void): void {
  const sub = program.command(entry.name).description(entry.summary).exitOverride();
  for (const arg of entry.args) sub.argument(arg);
  for (const [key, option] of Object.entries(entry.options)) {
    const text =
      option.placeholder === null ? flagOf(key) : `${flagOf(key)} <${option.placeholder}${option.many ? "..." : ""}>`;
    const flag = new Flag(key === "out" ? `-o, ${text}` : text, option.help);
    sub.addOption(
      option.placeholder === null ? flag : flag.argParser((value: string, old: string[] = []) => [...old, value]),
    );
  }
  if (!("json" in entry.options)) sub.option("--json", "Print the answer as JSON and nothing else on stdout.");
  sub.addHelpText("after", `\nExamples:\n${entry.examples.map((line) => `  $ ${line}`).join("\n")}`);
  sub.action(async (...given: unknown[]) => {
    const args = sub.args;
    const texts = new Map<string, readonly string[]>();
    for (const [key, value] of Object.entries(sub.opts<Record<string, unknown>>())) {
      if (Array.isArray(value)) texts.set(key, value.map(String));
      else if (value === true) texts.set(key, [""]);
    }
    void given;
    const host = nodeHost(sub.opts<{ json?: boolean }>().json === true);
    try {
      await entry.run(args, texts, host);
      await host.close();
    } catch (error) {
      await host.close();
      if (host.signal.aborted) return host.raise();
      if (!(error instanceof EspalierError)) throw error;
      host.fail(error);
      fail(error.code === "request" ? 2 : 1);
    }
  });
}

process.exitCode = await main(process.argv.slice(2));
