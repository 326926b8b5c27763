#!/usr/bin/env node
import { readFileSync } from "node:fs";
import { nodeSession } from "./node-host.ts";
import { bug, runProgram } from "./program.ts";

const debug = (process.env["ESPALIER_DEBUG"] ?? "") !== "";

// A reader that has seen enough (head, less) closes the pipe: that is no failure.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(process.exitCode ?? 0);
    throw error;
  });
}

function version(): string {
  const file: unknown = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  return typeof file === "object" && file !== null && "version" in file ? String(file.version) : "unknown";
}

try {
  process.exitCode = await runProgram(process.argv.slice(2), {
    version: version(),
    debug,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    session: nodeSession,
  });
} catch (error) {
  process.stderr.write(`espalier: ${bug(error, debug).message}\n`);
  process.exitCode = 1;
}
