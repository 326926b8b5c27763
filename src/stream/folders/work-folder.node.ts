import { readdir } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { readSafetensors } from "../../formats/safetensors/read.ts";
import { saveSafetensors } from "../../formats/safetensors/save.node.ts";
import { fileSource } from "../../formats/source/file.node.ts";
import type { FinishedStage, Work } from "../work.ts";
import { earlierRequest, openWorkJournal } from "./journal.node.ts";

/** Finished stages in a folder: their tensors in files, and a journal that says which files are whole. */
export interface WorkFolder extends Work {
  /** Whether `complete` was called before. */
  readonly isComplete: boolean;
  /** Says that everything is done and only has to be put in its place. */
  complete(): Promise<void>;
  remove(): Promise<void>;
}

const layer = z.object({ name: z.string(), before: z.number(), after: z.number() });
const line = z.union([
  z.object({
    stage: z.string(),
    file: z.string(),
    layers: z.array(layer),
    skipped: z.array(z.object({ name: z.string(), reason: z.string() })),
  }),
  z.object({ complete: z.literal(true) }),
]);

const runRequest = z.object({ device: z.object({ batch: z.number() }) });

/** Windows that ran at once in the run that left a journal; null where none did. */
export async function earlierBatch(path: string): Promise<number | null> {
  return runRequest.safeParse(await earlierRequest(path)).data?.device.batch ?? null;
}

/** Opens or makes a folder of work. Throws like `openWorkJournal`. */
export async function openWorkFolder(
  path: string,
  request: Readonly<Record<string, unknown>>,
  { resume }: { readonly resume: boolean },
): Promise<WorkFolder> {
  const journal = await openWorkJournal(path, request, line, { resume, expected: "a finished stage" });
  const stages = new Map<string, FinishedStage>();
  const isComplete = journal.lines.some((each) => "complete" in each);
  const there = new Set(await readdir(path));
  for (const each of journal.lines) {
    if ("complete" in each) continue;
    const { stage, file, layers, skipped } = each;
    // Where the whole is in its place, the files of its stages may be gone.
    const tensors = there.has(file) || !isComplete ? await tensorsIn(join(path, file)) : new Map();
    stages.set(stage, { layers, skipped, tensors });
  }
  return {
    isComplete,
    get: (stage) => stages.get(stage),
    add: async (stage, { layers, skipped, tensors }) => {
      const file = `stage-${String(stages.size + 1).padStart(5, "0")}.safetensors`;
      await saveSafetensors({ tensors, metadata: new Map() }, join(path, file));
      await journal.append({ stage, file, layers: [...layers], skipped: [...skipped] });
      stages.set(stage, { layers, skipped, tensors: await tensorsIn(join(path, file)) });
    },
    complete: () => journal.append({ complete: true }),
    remove: journal.remove,
  };
}

async function tensorsIn(file: string): Promise<FinishedStage["tensors"]> {
  return (await readSafetensors(await fileSource(file))).tensors;
}
