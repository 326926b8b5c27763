/**
 * Writes tiny checkpoints of every model_type, whole and pruned in many ways, with what espalier computes for each and what it says
 * of programs that are to load them: `npx tsx test/loaders/write-cases.ts FOLDER`. Then `by_transformers.py FOLDER` and
 * `by_llama_cpp.py FOLDER …` beside this file ask these programs.
 *
 * FOLDER/checkpoints/CASE is a checkpoint, FOLDER/values/CASE.NAME.npy an input or result, FOLDER/cases.json the list.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Group, unitCount } from "../../src/coupling/couple.ts";
import { writeNpy } from "../../src/data/files/npy.ts";
import { openCheckpointFolder } from "../../src/formats/checkpoint/open.node.ts";
import type { Checkpoint } from "../../src/formats/checkpoint/open.ts";
import { saveCheckpoint } from "../../src/formats/checkpoint/save.node.ts";
import { keepBlocks, keepExperts, keepTokens, methods, pruneFolderUnits } from "../../src/index.node.ts";
import { analyse } from "../../src/models/analysis.ts";
import { type CheckpointModel, checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { resized } from "../../src/models/checkpoint/resize.ts";
import { loadSizes } from "../../src/models/loaders/sizes.ts";
import { shapesAt } from "../../src/models/loaders/widths.ts";
import { willLoad } from "../../src/models/loaders/will-load.ts";
import type { UnitPlan } from "../../src/plans/plan.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { fromFloats, fromInts, toFloat32, toInts } from "../../src/tensor/numeric.ts";
import { type HostTensor, load, refOf, type TensorRef } from "../../src/tensor/tensor.ts";
import { inFloat32, openFixtures } from "../checkpoints/fixtures.ts";
import { classes } from "./classes.ts";

const [folder = ""] = process.argv.slice(2);
if (folder === "") throw new Error("expected a folder to write, got none.");
const fixtures = openFixtures();
const runtime = await openRuntime({ threads: 1, worker: false });

/** Fields with a fraction in the configs of these types, which the fixtures have lost. */
const fractions = new Set(["attn_logit_softcapping", "final_logit_softcapping", "rope_theta", "factor"]);

interface Written {
  readonly name: string;
  readonly type: string;
  readonly change: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** What is said of each program: loads, limited or refused, and why. */
  readonly said: Readonly<Record<string, { readonly verdict: string; readonly why: string }>>;
}
const written: Written[] = [];
const places = { checkpoints: join(folder, "checkpoints"), values: join(folder, "values") };
for (const place of Object.values(places)) {
  rmSync(place, { recursive: true, force: true });
  mkdirSync(place, { recursive: true });
}

for (const { name, checkpoint, config } of fixtures.cases) {
  const type = String(config["model_type"]);
  const length = Number(config["n_positions"] ?? 0);
  const changes = {
    architectures: [classes[type] ?? "unknown"],
    ...(type === "vit" || type === "roberta" ? {} : { pad_token_id: 0, bos_token_id: 1, eos_token_id: 2 }),
    ...(length === 0 ? {} : { n_ctx: length }),
  };
  const opened = await inFloat32(await fixtures.open(name, changes));
  const model = checkpointModel({ ...opened, fractions });
  await saved(model, name, "whole", model.checkpoint);
  // Cases that share their weights differ in positions alone, which no pruning touches.
  if (checkpoint === name) await pruned(model, name);
  process.stdout.write(`${name}: ${written.filter((one) => one.name.startsWith(name)).length}\n`);
}
writeFileSync(join(folder, "cases.json"), JSON.stringify(written, null, 1));
await runtime.close();

/** Every way of making a model smaller. */
async function pruned(model: CheckpointModel, name: string): Promise<void> {
  const count = model.outline.blocks.length;
  await saved(model, name, "bf16", { ...model.checkpoint, tensors: await inBf16(model.checkpoint) });
  for (const [change, kept] of [
    ["first block", [0]],
    ["last block", [count - 1]],
    ["first and last block", [0, count - 1]],
  ] as const) {
    if (new Set(kept).size < count)
      await attempt(name, change, async () => saved(model, name, change, keepBlocks(model, kept)));
  }
  for (const kept of [20, 27]) {
    const change = `${kept} tokens`;
    const ids = Array.from({ length: kept }, (_, id) => id);
    if (kept < model.outline.vocabulary)
      await attempt(name, change, async () => saved(model, name, change, (await keepTokens(model, ids)).checkpoint));
  }
  const mixed = model.outline.blocks.flatMap(({ experts }, block) =>
    experts === undefined ? [] : [{ block, ...experts }],
  );
  for (const left of [4, 3]) {
    if (mixed.length === 0) break;
    const kept = new Map(mixed.map(({ block }) => [block, Array.from({ length: left }, (_, i) => i)] as const));
    await attempt(name, `${left} experts`, async () => saved(model, name, `${left} experts`, keepExperts(model, kept)));
  }
  for (const [change, plan] of [
    ["half of all units", methods.structured({ sparsity: 0.5, roundTo: 1 })],
    ["units by a global choice", methods.structured({ keepParams: 0.75, scope: "global", roundTo: 1 })],
  ] as const) {
    await attempt(name, change, () => units(model, name, change, plan));
  }
  for (const [field, masks] of await fieldsOf(model)) {
    for (const [what, keep] of [
      ["without its last", (n: number) => n - 1],
      ["half of", (n: number) => Math.floor(n / 2)],
    ] as const) {
      const given = new Map(masks.map((group) => [group.id, maskOf(group, keep(group.size))] as const));
      const change = `${field} ${what}`;
      await attempt(name, change, () =>
        units(model, name, change, { ...methods.structured({ sparsity: 0.5, roundTo: 1 }), given }),
      );
    }
  }
}

async function units(model: CheckpointModel, name: string, change: string, plan: UnitPlan): Promise<void> {
  const out = join(places.checkpoints, fileOf(name, change));
  await pruneFolderUnits(model, out, plan, { runtime, measure: false });
  await noted(model, name, change, checkpointModel(await openCheckpointFolder(out)));
}

async function saved(model: CheckpointModel, name: string, change: string, checkpoint: Checkpoint): Promise<void> {
  const out = join(places.checkpoints, fileOf(name, change));
  await saveCheckpoint(checkpoint, out);
  await noted(model, name, change, checkpointModel(await openCheckpointFolder(out)));
}

async function attempt(name: string, change: string, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    rmSync(join(places.checkpoints, fileOf(name, change)), { recursive: true, force: true });
    process.stdout.write(
      `  ${name}, ${change}: not written: ${cause instanceof Error ? cause.message : String(cause)}\n`,
    );
  }
}

/** Writes what a checkpoint computes, and what is said of it. */
async function noted(original: CheckpointModel, name: string, change: string, model: CheckpointModel): Promise<void> {
  const given = await fixtures.expected(name);
  const { graph } = model.graph(given.has("attention_mask") ? "padded" : "tokens");
  const session = await runtime.compile(graph);
  const { vocabulary } = model.outline;
  const feeds = new Map<string, HostTensor>();
  for (const { name: input } of graph.inputs) {
    const tensor = given.get(input) ?? missing(input);
    const isCut = input === "input_ids" && vocabulary < original.outline.vocabulary;
    feeds.set(
      input,
      isCut
        ? fromInts(
            "i64",
            tensor.shape,
            toInts(tensor).map((id) => id % vocabulary),
          )
        : tensor,
    );
  }
  const results = await session.run(feeds);
  await session.release();
  const file = fileOf(name, change);
  for (const [key, tensor] of [...feeds, ...results]) {
    writeFileSync(join(places.values, `${file}.${key}.npy`), writeNpy(tensor));
  }
  const loads = willLoad(loadSizes(model), loadSizes(original));
  written.push({
    name: file,
    type: model.type,
    change,
    inputs: [...feeds.keys()],
    outputs: [...results.keys()],
    said: Object.fromEntries(
      loads.map(({ loader, verdict, findings }) => [
        loader,
        { verdict, why: findings.find(({ severity }) => severity === verdict)?.got ?? "" },
      ]),
    ),
  });
}

/** Groups by the fields of the config that change where one of their units goes. */
async function fieldsOf(model: CheckpointModel): Promise<ReadonlyMap<string, readonly Group[]>> {
  const { coupling } = await analyse(model.graph().graph, runtime);
  const found = new Map<string, Group[]>();
  for (const group of coupling.groups) {
    if (group.blocked.length > 0 || group.size < 2) continue;
    const change = resized(model, shapesAt(model, coupling, new Map([[group, group.size - 1]])));
    if (change.problems.length > 0) continue;
    const fields = new Set([
      ...change.fields.keys(),
      ...[...change.perBlock.values()].flatMap((own) => [...own.keys()]),
    ]);
    const unchanged = new Set([...change.perBlock.values()].flatMap((own) => [...own.keys()]));
    const key = [...fields].sort().join(" and ");
    if (key === "" && unchanged.size === 0) continue;
    found.set(key, [...(found.get(key) ?? []), group]);
  }
  return found;
}

function maskOf(group: Group, keep: number): Uint8Array {
  const mask = new Uint8Array(unitCount(group));
  for (let set = 0; set < group.sets; set++) mask.fill(1, set * group.size, set * group.size + keep);
  return mask;
}

async function inBf16({ tensors }: Checkpoint): Promise<ReadonlyMap<string, TensorRef>> {
  const found = new Map<string, TensorRef>();
  for (const [key, ref] of tensors) found.set(key, refOf(fromFloats("bf16", ref.shape, toFloat32(await load(ref)))));
  return found;
}

function fileOf(name: string, change: string): string {
  return `${name}--${change.replaceAll(" ", "-").replaceAll("_", "-")}`;
}

function missing(what: string): never {
  throw new Error(`no ${what}`);
}
