import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startProgram } from "../../test/program-process.ts";

const examples = join(import.meta.dirname, "../../examples/glyphs");

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "espalier-train-"));
  copyFileSync(join(examples, "glyphs.onnx"), join(folder, "model.onnx"));
  copyFileSync(join(examples, "test.npz"), join(folder, "test.npz"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Writes a recipe with these lines added and gives its name. */
function recipe(name: string, lines: string): string {
  const text = `model: model.onnx\nout: ${name}.onnx\ntraining: { path: test.npz, scale: 0.00392157, limit: 64 }\n${lines}\n`;
  writeFileSync(join(folder, `${name}.yaml`), text);
  return `${name}.yaml`;
}

const start = (...argv: readonly string[]) => startProgram(folder, "train", ...argv);

async function appears(path: string): Promise<void> {
  while (!existsSync(path)) await new Promise((resolve) => setTimeout(resolve, 20));
}

describe("a run that is ended from outside goes on to the bytes that it would have given", () => {
  const lines = "seed: 3\nthreads: 1\nsnapshot: 0\ntrain: { updates: 40, batch: 16, rate: 0.002, pad: 1 }";
  let whole = "";
  beforeAll(async () => {
    const { code, err } = await start(recipe("whole", lines)).ended;
    expect({ code, err }).toMatchObject({ code: 0 });
    whole = readFileSync(join(folder, "whole.onnx")).toString("hex");
  });

  test.each(["SIGKILL", "SIGINT"] as const)("%s", async (signal) => {
    const name = recipe(signal, lines);
    const snapshot = join(folder, `${signal}.onnx.snapshot`);
    const { child, ended } = start(name);
    await appears(snapshot);
    child.kill(signal);
    expect((await ended).signal).toBe(signal);
    expect(existsSync(join(folder, `${signal}.onnx`))).toBe(false);
    const resumed = await start(name, "--resume", "--json").ended;
    expect(resumed.code).toBe(0);
    const report: unknown = JSON.parse(resumed.out);
    expect(report).toMatchObject({ training: { updates: 40 } });
    // Most of the run was the first one's: what was fed again is less than all of it.
    expect(report).toHaveProperty(
      "training.samples",
      expect.toSatisfy((n: number) => n < 40 * 16),
    );
    expect(readFileSync(join(folder, `${signal}.onnx`)).toString("hex") === whole).toBe(true);
    expect(existsSync(snapshot)).toBe(false);
    const left = readdirSync(folder).filter((file) => file.endsWith(".tmp"));
    // A killed process cannot remove the file that it was writing; nothing else stays.
    expect(left.filter((file) => signal !== "SIGKILL" || !file.includes("SIGKILL"))).toEqual([]);
  });
});

describe("what cannot be trained is said", () => {
  test.each([
    [
      "objective",
      "objective: mean",
      /objective.yaml:4:12: objective: expected one of cross-entropy, next-token, distill/,
    ],
    ["teacher", "objective: distill", /teacher: expected a model that teaches, got none/],
    ["frozen", "train: { freeze: ['*'] }", /expected at least one parameter to train, got none/],
    ["wild", "train: { updates: 5, batch: 16, rate: 1.0e+30 }", /update \d+: expected finite numbers/],
  ])("%s", async (name, lines, message) => {
    const { code, out, err } = await start(recipe(name, lines)).ended;
    expect(code).toBeGreaterThan(0);
    expect(out).toBe("");
    expect(err).toMatch(message);
    expect(existsSync(join(folder, `${name}.onnx`))).toBe(false);
  });
});
