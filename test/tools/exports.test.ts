import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as nodeEntry from "../../src/index.node.ts";
import * as entry from "../../src/index.ts";
import { exportedNames, publicSurface } from "./exports.ts";

const valuesOf = (path: string): string[] =>
  [...exportedNames(path)].flatMap(([name, kind]) => (kind === "value" ? [name] : [])).sort();

test("the public names are those of exports.txt; vitest -u writes a change that is meant", async () => {
  const surface = publicSurface(exportedNames("src/index.ts"), exportedNames("src/index.node.ts"));
  await expect(surface).toMatchFileSnapshot("../../exports.txt");
});

test("names read from the source are those that a program gets", () => {
  expect(valuesOf("src/index.ts")).toEqual(Object.keys(entry).sort());
  expect(valuesOf("src/index.node.ts")).toEqual(Object.keys(nodeEntry).sort());
});

test("Node's entry has a name of its own, for resolutions that do not know the condition", () => {
  const { exports } = JSON.parse(readFileSync("package.json", "utf8"));
  expect(exports["./node"]).toEqual(exports["."].node);
});

test("Node has every name that browsers have", () => {
  expect(Object.keys(nodeEntry)).toEqual(expect.arrayContaining(Object.keys(entry)));
});

test("every form of export is read, and a removed name changes the text", () => {
  const folder = mkdtempSync(join(tmpdir(), "espalier-exports-"));
  writeFileSync(join(folder, "b.ts"), "export const b = 1;\nexport type B = number;\n");
  writeFileSync(
    join(folder, "a.ts"),
    [
      'export * from "./b.ts";',
      'export { x as y, type Z } from "elsewhere";',
      'export type { T } from "elsewhere";',
      "export interface I {}",
      "export class C {}",
      "export function f() {}",
    ].join("\n"),
  );
  const names = exportedNames(join(folder, "a.ts"));
  rmSync(folder, { recursive: true });
  const text = publicSurface(new Map([["b", "value"]]), names);
  expect(text).toBe("# everywhere\nb\n\n# in Node only\nC\nf\ntype B\ntype I\ntype T\ntype Z\ny\n");
});
