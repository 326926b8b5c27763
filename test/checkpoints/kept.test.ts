import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { parseKept } from "../../src/formats/checkpoint/kept.ts";
import { openCheckpointFolder } from "../../src/formats/checkpoint/open.node.ts";
import type { Checkpoint } from "../../src/formats/checkpoint/open.ts";
import { saveCheckpoint } from "../../src/formats/checkpoint/save.node.ts";
import { methods, pruneFolderUnits } from "../../src/index.node.ts";
import { keepBlocks } from "../../src/models/checkpoint/change.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { keepEntries, keepExperts } from "../../src/models/checkpoint/entries.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { toFloat32 } from "../../src/tensor/numeric.ts";
import { load } from "../../src/tensor/tensor.ts";
import { inFloat32, openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
let folder = "";
let runtime: Runtime;
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = mkdtempSync(join(tmpdir(), "espalier-kept-"));
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

/** The file as anybody would read it. */
const fileShape = z.object({
  version: z.literal(1),
  of: z.string(),
  blocks: z.array(z.number()).optional(),
  experts: z.record(z.string(), z.array(z.number())).optional(),
  entries: z.record(z.string(), z.array(z.number())).optional(),
  names: z.record(z.string(), z.string()),
  lists: z.array(z.array(z.number())),
  tensors: z.record(z.string(), z.array(z.number().nullable())),
});
type KeptFile = z.infer<typeof fileShape>;

const keptAt = (path: string): KeptFile =>
  fileShape.parse(JSON.parse(readFileSync(join(path, "kept-indices.json"), "utf8")));

/** The tensors that are not what the file gathers from the original, element by element, with zeros at −1. */
async function differing(original: Checkpoint, small: Checkpoint, file: KeptFile): Promise<readonly string[]> {
  const found: string[] = [];
  for (const [name, ref] of small.tensors) {
    const from = original.tensors.get(file.names[name] ?? name);
    if (from === undefined) {
      found.push(name);
      continue;
    }
    const [whole, is] = [toFloat32(await load(from)), toFloat32(await load(ref))];
    const axes = from.shape.map((size, axis) => {
      const list = file.tensors[name]?.[axis];
      return list == null ? Array.from({ length: size }, (_, i) => i) : (file.lists[list] ?? []);
    });
    const shape = axes.map(({ length }) => length);
    let same = shape.join() === ref.shape.join();
    for (let i = 0; same && i < is.length; i++) {
      let [rest, place, stride, gone] = [i, 0, 1, false];
      for (let axis = axes.length - 1; axis >= 0; axis--) {
        const position = axes[axis]?.[rest % (shape[axis] ?? 1)] ?? 0;
        gone ||= position < 0;
        place += position * stride;
        rest = Math.floor(rest / (shape[axis] ?? 1));
        stride *= from.shape[axis] ?? 1;
      }
      same = Object.is(is[i], gone ? 0 : whole[place]);
    }
    if (!same) found.push(name);
  }
  return found;
}

let count = 0;

/** The same as a folder that was written and read. */
async function stored(checkpoint: Checkpoint): Promise<{ readonly path: string; readonly checkpoint: Checkpoint }> {
  const path = join(folder, `kept-${count++}`);
  await saveCheckpoint(checkpoint, path);
  return { path, checkpoint: await openCheckpointFolder(path) };
}

const matricesOfNorms = (checkpoint: Checkpoint): ReadonlySet<string> =>
  new Set(checkpointModel(checkpoint).stages.flatMap(({ norms }) => [...norms.values()].map(({ matrix }) => matrix)));
const blocks = (checkpoint: Checkpoint, kept: readonly number[]) => keepBlocks(checkpointModel(checkpoint), kept);
const experts = (checkpoint: Checkpoint, kept: readonly (readonly number[])[]) =>
  keepExperts(checkpointModel(checkpoint), new Map(kept.entries()));
const tokens = (checkpoint: Checkpoint, kept: readonly number[]) =>
  keepEntries(checkpointModel(checkpoint), "vocab_size", kept);

describe("what is left of an original", () => {
  const cases: readonly (readonly [
    what: string,
    name: string,
    prune: (original: Checkpoint) => Checkpoint,
    parts: Pick<KeptFile, "blocks" | "experts" | "entries">,
  ])[] = [
    ["blocks", "gemma2", (one) => blocks(one, [1]), { blocks: [1] }],
    [
      "experts",
      "qwen3_moe",
      (one) =>
        experts(one, [
          [5, 1, 0],
          [2, 0, 3],
        ]),
      { experts: { 0: [5, 1, 0], 1: [2, 0, 3] } },
    ],
    ["tokens", "llama-tied-biased", (one) => tokens(one, [9, 3, 20]), { entries: { vocab_size: [9, 3, 20] } }],
    [
      "experts, then a block, tokens, experts again and tokens again",
      "qwen3_moe",
      (one) =>
        tokens(
          experts(
            tokens(
              blocks(
                experts(one, [
                  [5, 1, 0],
                  [2, 0, 3, 5],
                ]),
                [1],
              ),
              [7, 8, 9, 1],
            ),
            [[3, 1]],
          ),
          [2, 0],
        ),
      { blocks: [1], experts: { 0: [5, 0] }, entries: { vocab_size: [9, 7] } },
    ],
    [
      "a block, then experts of the next and of what was one further",
      "qwen3_moe",
      (one) =>
        experts(blocks(one, [0, 1]), [
          [1, 2, 3],
          [4, 0, 2],
        ]),
      { blocks: [0, 1], experts: { 0: [1, 2, 3], 1: [4, 0, 2] } },
    ],
  ];

  it.each(cases)(
    "%s of %s: gathered by the file, the original's tensors are those that are left",
    async (_, name, prune, parts) => {
      const original = await fixtures.open(name);
      const { path, checkpoint } = await stored(prune(original));
      const file = keptAt(path);
      const { blocks: left, experts: own, entries } = file;
      expect({ of: file.of, blocks: left, experts: own, entries }).toEqual({
        ...{ of: name, blocks: undefined, experts: undefined, entries: undefined },
        ...parts,
      });
      expect(await differing(original, checkpoint, file)).toEqual([]);
      // Planted fault: lists in another order, or names that nobody moved.
      const lists = file.lists.map((list) => list.toReversed());
      expect((await differing(original, checkpoint, { ...file, lists, names: {} })).length).toBeGreaterThan(0);
      expect(checkpointModel(checkpoint).checkpoint.files.has("kept-indices.json")).toBe(false);
    },
  );

  it.each(["llama", "gpt2", "gpt_neox", "phi3", "mixtral", "deepseek_v3", "bert", "vit"])(
    "units of %s too",
    async (name) => {
      const original = await inFloat32(await fixtures.open(name));
      const path = join(folder, `units-${name}`);
      const plan = methods.structured({ sparsity: 0.3, roundTo: 1 });
      await pruneFolderUnits(checkpointModel(original), path, plan, { runtime, measure: false });
      const small = await openCheckpointFolder(path);
      const wrong = await differing(original, small, keptAt(path));
      // Gains of norms follow the width, and so do matrices in front of norms of their own.
      const own = matricesOfNorms(small);
      expect(wrong.filter((tensor) => !/norm|ln_/i.test(tensor) && !own.has(tensor))).toEqual([]);
      expect(small.tensors.size).toBe(original.tensors.size);
    },
  );

  it("is told of the first original, where units go from what parts went from before", async () => {
    const original = await inFloat32(await fixtures.open("qwen3_moe"));
    const { checkpoint } = await stored(tokens(experts(blocks(original, [1]), [[4, 1, 2]]), [5, 4, 3, 2, 8, 9]));
    const path = join(folder, "units-later");
    const plan = methods.structured({ sparsity: 0.4, roundTo: 1 });
    await pruneFolderUnits(checkpointModel(checkpoint), path, plan, { runtime, measure: false });
    const file = keptAt(path);
    expect(file).toMatchObject({ of: "qwen3_moe", blocks: [1], experts: { 0: [4, 1, 2] } });
    const small = await openCheckpointFolder(path);
    const own = matricesOfNorms(small);
    const wrong = await differing(original, small, file);
    expect(wrong.filter((tensor) => !tensor.includes("norm") && !own.has(tensor))).toEqual([]);
    const again = checkpointModel(await openCheckpointFolder(path)).checkpoint.kept;
    expect(again).toEqual(parseKept(file, (await openCheckpointFolder(path)).tensors));
  });

  it("is not read from a file that says something else, which stays as it is", async () => {
    const { path } = await stored(blocks(await fixtures.open("llama"), [1]));
    const whole = readFileSync(join(path, "kept-indices.json"), "utf8");
    for (const text of [
      "[]",
      "nothing",
      whole.replace('"version": 1', '"version": 7'),
      whole.replace("model.layers.0.mlp", "model.layers.5.mlp"),
      whole.replace('"tensors": {}', '"tensors": {"lm_head.weight": [0, null]}'),
      whole.replace('"lists": [],\n  "tensors": {}', '"lists": [[1]],\n  "tensors": {"lm_head.weight": [0, null]}'),
    ]) {
      expect(text).not.toBe(whole);
      writeFileSync(join(path, "kept-indices.json"), text);
      const opened = await openCheckpointFolder(path);
      expect(opened.kept).toBeUndefined();
      const again = await stored(opened);
      expect(readFileSync(join(again.path, "kept-indices.json"), "utf8")).toBe(text);
    }
  });
});
