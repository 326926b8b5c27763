import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { type Bundle, bundlePage } from "./bundle.ts";
import { hasChromium, inChromium } from "./in-chromium.ts";
import { criteriaCompared, type Outcome, pruneIn } from "./job.ts";

const example = (name: string): Uint8Array =>
  new Uint8Array(readFileSync(new URL(`../../examples/glyphs/${name}`, import.meta.url)));

const answerShape = z.union([
  z.object({ failure: z.string() }),
  z.object({
    isolated: z.boolean(),
    threads: z.number(),
    notes: z.array(z.string()),
    outcomes: z.array(
      z.object({
        criterion: z.string(),
        masks: z.array(z.tuple([z.string(), z.string()])),
        file: z.string(),
        version: z.string(),
      }),
    ),
  }),
]);

describe("the browser bundle", () => {
  let bundle: Bundle;
  beforeAll(async () => {
    bundle = await bundlePage();
  });

  it("asks for nothing of Node", () => {
    expect(bundle.nodeImports).toEqual([]);
    expect([...bundle.files.keys()].some((name) => name.endsWith(".wasm"))).toBe(true);
  });

  it("stays small without the runtime", () => {
    let bytes = 0;
    for (const [name, content] of bundle.files) {
      if (/\.js$/.test(name) && !/ort[.-]/.test(name)) bytes += gzipSync(content).length;
    }
    expect(bytes).toBeGreaterThan(10_000);
    expect(bytes).toBeLessThan(150_000);
  });

  it.skipIf(!hasChromium)(
    "prunes the example in Chromium to the same masks and bytes as wasm in Node (needs Debian's chromium)",
    async () => {
      const inBrowser = await runInBrowser(bundle);
      const runtime = await openRuntime({ device: "wasm", threads: 2, worker: false });
      const model = example("glyphs.onnx");
      const calibration = example("calibration.npy");
      for (const criterion of criteriaCompared) {
        const expected = await pruneIn(runtime, model, calibration, criterion);
        const got = inBrowser.find((outcome) => outcome.criterion === criterion);
        expect(expected.masks.some(([, mask]) => mask.includes("0"))).toBe(true);
        expect(differences(expected, got)).toEqual([]);
      }
      await runtime.close();
    },
    240_000,
  );

  it("catches a planted fault: a page that asks for a module of Node", async () => {
    const root = mkdtempSync(join(tmpdir(), "espalier-page-"));
    writeFileSync(join(root, "index.html"), '<script type="module" src="./main.ts"></script>');
    writeFileSync(join(root, "main.ts"), 'import "node:path";');
    const { nodeImports } = await bundlePage(root);
    rmSync(root, { recursive: true });
    expect(nodeImports).toEqual([expect.stringMatching(/main\.ts: node:path$/)]);
  });

  it("catches a planted fault: one unit more, one byte more", () => {
    const one: Outcome = { criterion: "l2", masks: [["a", "1101"]], file: btoa("file"), version: "" };
    expect(differences(one, { ...one, masks: [["a", "1111"]] })).toEqual(["masks of a"]);
    expect(differences(one, { ...one, masks: [] })).toEqual(["masks of a"]);
    expect(differences(one, { ...one, file: btoa("fild") })).toEqual(["file"]);
  });
});

async function runInBrowser(bundle: Bundle): Promise<readonly Outcome[]> {
  const files = new Map(bundle.files);
  for (const name of ["glyphs.onnx", "calibration.npy"]) files.set(`/${name}`, example(name));
  const { answer: given, complaints } = await inChromium(files);
  const answer = answerShape.parse(given);
  if ("failure" in answer) throw new Error([answer.failure, ...complaints].join("\n"));
  expect(answer).toMatchObject({ isolated: true, threads: 2, notes: [] });
  return answer.outcomes;
}

/** Where two runs differ. */
function differences(expected: Outcome, got: Outcome | undefined): readonly string[] {
  const masks = new Map(got?.masks);
  const found = expected.masks
    .filter(([group, mask]) => masks.get(group) !== mask)
    .map(([group]) => `masks of ${group}`);
  if ((got?.masks.length ?? 0) > expected.masks.length) found.push("more groups");
  if (expected.file !== got?.file) found.push("file");
  return found;
}
