import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { between, errorCodes, generatedPages, headings, links } from "./docs.ts";

const read = (path: string): string => readFileSync(path, "utf8");
const pages = [
  "README.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  ...readdirSync("docs", { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

describe("documentation", () => {
  test.each([...generatedPages()])("%s says what the code says; npm run docs writes it", (path, text) => {
    expect(text.length).toBeGreaterThan(1000);
    expect(read(path)).toBe(text);
  });

  test("a page without its markers is refused, text outside them stays", () => {
    expect(() => between("# page\n", "layers", "x")).toThrow("markers");
    const page = "a\n<!-- l: written by npm run docs -->\nold\n<!-- end of l -->\nb\n";
    expect(between(page, "l", "new")).toBe(page.replace("old", "new"));
  });

  test("every error code has its section in docs/errors.md, and no section is left over", () => {
    const codes = errorCodes(read("src/tensor/error.ts"));
    expect(codes.length).toBeGreaterThan(5);
    expect(headings(read("docs/errors.md"), 2)).toEqual(codes);
  });

  test("a code without a section would be found", () => {
    const codes = errorCodes('export type ErrorCode =\n  | "format" // x\n  | "new"; // y\n');
    expect(codes).toEqual(["format", "new"]);
    expect(headings("# Errors\n\n## `format`\n\n### When\n", 2)).toEqual(["format"]);
  });

  test.each(pages)("the links of %s lead somewhere", (path) => {
    const broken = links(read(path)).filter((link) => !existsSync(join(dirname(path), link)));
    expect(broken).toEqual([]);
  });

  test("links are found, with and without anchors", () => {
    expect(links("[a](docs/a.md#x) [b](https://b) [c](#c) ![d](d.png)")).toEqual(["docs/a.md", "d.png"]);
  });
});
