import { Command as Commander, CommanderError, Option as Flag } from "commander";
import { EspalierError } from "../index.node.ts";
import { type Command, flagOf } from "./command.ts";
import { commands } from "./commands.ts";
import type { Host } from "./host.ts";

/** A host and what happens around a command. */
export interface Session extends Host {
  /** Tells of an error, on stderr and with --json on stdout too. */
  fail(error: EspalierError): void;
  /** Ends the bar and stops listening to signals. */
  close(): void;
  /** Ends the process by the signal that was received. */
  raise(): void;
}

/** The world that the program runs in. */
export interface World {
  readonly version: string;
  /** Show the stack of errors that are bugs. */
  readonly debug: boolean;
  out(text: string): void;
  err(text: string): void;
  session(json: boolean): Session;
}

/** Runs one command line. Exit codes: 0 done, 1 failed, 2 wrong usage. */
export async function runProgram(argv: readonly string[], world: World): Promise<number> {
  const program = new Commander("espalier")
    .description("Prune any neural network and prove what it gained.")
    .version(world.version)
    .configureHelp({ helpWidth: 100 })
    .configureOutput({ writeOut: world.out, writeErr: world.err })
    .showSuggestionAfterError()
    .exitOverride();
  let code = 0;
  for (const entry of commands) {
    attach(program, entry, world, (failed) => {
      code = failed;
    });
  }
  try {
    await program.parseAsync([...argv], { from: "user" });
    return code;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return 0;
    if (argv.includes("--json")) {
      const message = error.message.replace(/^error: /, "");
      world.out(`${JSON.stringify({ error: { code: "request", where: "command line", message } })}\n`);
    }
    return 2;
  }
}

function attach(program: Commander, entry: Command, world: World, failed: (code: number) => void): void {
  const sub = program.command(entry.name).description(entry.summary).copyInheritedSettings(program);
  for (const arg of entry.args) sub.argument(arg);
  for (const [key, option] of Object.entries(entry.options)) {
    const text =
      option.placeholder === null ? flagOf(key) : `${flagOf(key)} <${option.placeholder}${option.many ? "..." : ""}>`;
    const flag = new Flag(key === "out" ? `-o, ${text}` : text, option.help);
    sub.addOption(
      option.placeholder === null ? flag : flag.argParser((value: string, old: string[] = []) => [...old, value]),
    );
  }
  const more = entry.more === undefined ? "" : `\n\n${entry.more}`;
  sub.addHelpText("after", `\nExamples:\n${entry.examples.map((line) => `  $ ${line}`).join("\n")}${more}`);
  sub.action(async () => {
    const given = sub.opts<Record<string, unknown>>();
    const texts = new Map<string, readonly string[]>();
    for (const [key, value] of Object.entries(given)) {
      if (Array.isArray(value)) texts.set(key, value.map(String));
      else if (value === true) texts.set(key, [""]);
    }
    const session = world.session(given["json"] === true);
    try {
      await entry.run(sub.args, texts, session);
      session.close();
    } catch (error) {
      session.close();
      if (session.signal.aborted) return session.raise();
      const known = error instanceof EspalierError ? error : bug(error, world.debug);
      session.fail(known);
      failed(known.code === "request" ? 2 : 1);
    }
  });
}

/** An error that nobody foresaw, in one sentence; the operating system's are told as they are. */
export function bug(error: unknown, debug: boolean): EspalierError {
  const text = error instanceof Error ? (debug ? (error.stack ?? error.message) : error.message) : String(error);
  const system = error instanceof Error && "syscall" in error && "code" in error;
  if (system) return new EspalierError("file", "system", `expected to go on, got: ${text}.`, "", { cause: error });
  const hint = debug ? "" : "Please report it, with what ESPALIER_DEBUG=1 shows.";
  return new EspalierError("runtime", "espalier", `this is a bug: ${text}`, hint, { cause: error });
}
