import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test, vi } from "vitest";
import { flagOf } from "../../src/cli/command.ts";
import { commands } from "../../src/cli/commands.ts";

const readme = readFileSync("README.md", "utf8");

/** The fenced blocks of one language. */
function blocks(page: string, language: string): readonly string[] {
  return [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].flatMap(([, name, text = ""]) =>
    name === language ? [text] : [],
  );
}

/** What is wrong with the espalier commands of a page: names and flags that do not exist. */
function unknownUsage(page: string): readonly string[] {
  return blocks(page, "sh")
    .flatMap((text) => text.split("\n"))
    .filter((line) => line.startsWith("espalier "))
    .flatMap((line) => {
      const [, name = "", ...words] = line.replace(/\s#.*$/, "").split(/\s+/);
      const known = commands.find((command) => command.name === name);
      if (known === undefined) return [`espalier ${name}`];
      const flags = new Set(["--json", "--help", ...Object.keys(known.options).map(flagOf)]);
      return words.filter((word) => word.startsWith("--") && !flags.has(word)).map((flag) => `${name} ${flag}`);
    });
}

test("every command and flag of the README exists", () => {
  expect(blocks(readme, "sh").join("")).toContain("espalier prune");
  expect(unknownUsage(readme)).toEqual([]);
});

test("a command or flag that does not exist is found", () => {
  const page = "```sh\nespalier inspect a.onnx --colour red # --not-this\nespalier pruine a.onnx\n```\n";
  expect(unknownUsage(page)).toEqual(["inspect --colour", "espalier pruine"]);
});

test("the library example of the README runs", async () => {
  const [example = ""] = blocks(readme, "ts");
  const folder = mkdtempSync(join(tmpdir(), "espalier-readme-"));
  const entry = pathToFileURL(resolve("src/index.node.ts")).href;
  const program = example
    .replace('from "espalier"', `from ${JSON.stringify(entry)}`)
    .replace('"small.onnx"', JSON.stringify(join(folder, "small.onnx")));
  const said: unknown[][] = [];
  const log = vi.spyOn(console, "log").mockImplementation((...words) => {
    said.push(words);
  });
  try {
    writeFileSync(join(folder, "example.ts"), program);
    await import(/* @vite-ignore */ pathToFileURL(join(folder, "example.ts")).href);
    const [keptMacs, passed] = said[0] ?? [];
    expect(keptMacs).toBeGreaterThan(0.4);
    expect(keptMacs).toBeLessThanOrEqual(0.5);
    expect(passed).toBe(true);
    expect(readFileSync(join(folder, "small.onnx")).length).toBeGreaterThan(1000);
  } finally {
    log.mockRestore();
    rmSync(folder, { recursive: true });
  }
});
