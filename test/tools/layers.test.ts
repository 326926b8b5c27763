import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { checkImports, checkWords } from "./layers.ts";

const folders: string[] = [];

/** A folder with these files. */
function planted(files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), "espalier-layers-"));
  folders.push(root);
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  return root;
}

afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

describe("layers", () => {
  test("no import of src goes against the order", async () => {
    const { files, imports, problems } = await checkImports("src");
    expect(files).toBeGreaterThan(100);
    expect(imports).toBeGreaterThan(300);
    expect(problems).toEqual([]);
  });

  test("no file of src says what has no place there", () => {
    const { files, problems } = checkWords("src");
    expect(files).toBeGreaterThan(100);
    expect(problems).toEqual([]);
  });

  test("planted imports against the order are found, those with it pass", async () => {
    const root = planted({
      "tensor/a.ts": 'import type { B } from "../graph/b.ts";\nexport type A = B;\n',
      "graph/b.ts": 'import { c } from "../data/c.ts";\nexport type B = typeof c;\n',
      "data/c.ts": 'import { readFileSync } from "node:fs";\nexport const c = readFileSync;\n',
      "data/d.node.ts": 'import { readFileSync } from "node:fs";\nexport const d = readFileSync;\n',
      "stats/e.ts": 'export { c } from "../data/c.ts";\nexport const later = () => import("../masks/f.ts");\n',
      "masks/f.ts": 'import "../stats/e.ts";\nexport const f = 1;\n',
      "cli/g.ts": 'import { f } from "../masks/f.ts";\nexport const g = f;\n',
      "else/h.ts": 'import { f } from "../masks/f.ts";\nexport const h = f;\n',
      "criteria/i.ts": 'import * as ort from "onnxruntime-web";\nexport const i = ort;\n',
      "criteria/i.test.ts": 'import { f } from "../masks/f.ts";\nexport const t = f;\n',
    });
    const { files, problems } = await checkImports(root);
    expect(files).toBe(10);
    expect([...problems].sort()).toEqual([
      "cli/g.ts imports masks/f.ts: cli imports index.node.ts only",
      "criteria/i.ts imports onnxruntime-web, which is for src/runtime only",
      "data/c.ts imports Node's fs, but only cli and *.node.ts run in Node alone",
      "else/h.ts imports masks/f.ts: else is not in the list of layers",
      "graph/b.ts imports data/c.ts: graph and data share a step and do not see each other",
      "stats/e.ts imports masks/f.ts: stats stands below masks",
      "tensor/a.ts imports graph/b.ts: tensor stands below graph",
    ]);
  });

  test("planted words are found, in code and not in comments", () => {
    const root = planted({
      "masks/a.ts": [
        "// Math.random() would not repeat",
        "const a = Math.random();",
        "const b = Date.now();",
        'console.log("x");',
        'const c = node.op === "Conv";',
        'const d = kind === "conv" || order === "True";',
        '    case "Reshape":',
        "const e = Buffer.alloc(1) ?? this.process.env;",
      ].join("\n"),
      "masks/c.node.ts": "const c = process.env;\n",
      "ops/b.ts": 'const c = node.op === "Conv";\n',
    });
    expect(checkWords(root).problems).toEqual([
      "masks/a.ts:2 says Math.random: a seed is an argument: tensor/random.ts",
      "masks/a.ts:3 says Date.now: results do not depend on the day; time with performance.now()",
      "masks/a.ts:4 says console.: answers go through the host of a command",
      "masks/a.ts:5 asks for the operator Conv: that belongs in src/ops",
      "masks/a.ts:7 asks for the operator Reshape: that belongs in src/ops",
      "masks/a.ts:8 says Buffer: browsers do not have it",
    ]);
  });
});
