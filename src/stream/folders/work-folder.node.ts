import { access, mkdir, open, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod";
import { readSafetensors } from "../../formats/safetensors/read.ts";
import { saveSafetensors } from "../../formats/safetensors/save.node.ts";
import { fileSource } from "../../formats/source/file.node.ts";
import { syncFolder } from "../../formats/whole-files.node.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { FinishedStage, Work } from "../work.ts";

/** Finished stages in a folder: their tensors in files, and a journal that says which files are whole. */
export interface WorkFolder extends Work {
  /** Whether `complete` was called before. */
  readonly isComplete: boolean;
  /** Says that everything is done and only has to be put in its place. */
  complete(): Promise<void>;
  remove(): Promise<void>;
}

const journalFile = "journal.jsonl";

/** True where a run left a journal: a folder without one is nothing that could be gone on with. */
export function hasJournal(path: string): Promise<boolean> {
  return access(join(path, journalFile)).then(
    () => true,
    () => false,
  );
}

const runHeader = z.object({ espalier: z.object({ device: z.object({ batch: z.number() }) }) });

/** Windows that ran at once in the run that left a journal; null where none did. */
export async function earlierBatch(path: string): Promise<number | null> {
  const [first = ""] = (await readFile(join(path, journalFile), "utf8").catch(() => "")).split("\n", 1);
  return runHeader.safeParse(jsonOf(first)).data?.espalier.device.batch ?? null;
}

/** Says that everything is done. */
const completeLine = JSON.stringify({ complete: true });

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

/**
 * Opens or makes a folder of work. `request` says what it is for: a folder of another request is refused, and one that is there
 * already unless `resume` asks to go on with it. What a killed run left half-written is removed. Throws `request`, `file`, `format`.
 */
export async function openWorkFolder(
  path: string,
  request: Readonly<Record<string, unknown>>,
  { resume }: { readonly resume: boolean },
): Promise<WorkFolder> {
  const journal = join(path, journalFile);
  const header = `${JSON.stringify({ espalier: request })}\n`;
  const text = await readFile(journal, "utf8").catch(() => null);
  if (text !== null && !resume) {
    const hint = `Give --resume to go on with it, or remove "${path}".`;
    throw new EspalierError("request", path, "expected no unfinished work, got that of an earlier run.", hint);
  }
  await mkdir(path, { recursive: true }).catch(refuse(path));
  for (const file of await readdir(path)) {
    if (file.endsWith(".tmp")) await rm(join(path, file), { recursive: true, force: true });
  }
  // A last line without its end was being written when the run was killed.
  const whole = (text ?? "").slice(0, (text ?? "").lastIndexOf("\n") + 1);
  const [first = "", ...lines] = whole === "" ? [] : whole.slice(0, -1).split("\n");
  if (whole !== "" && `${first}\n` !== header) {
    const hint = `Repeat the options of the run that it belongs to, or remove "${path}".`;
    throw new EspalierError(
      "request",
      `--resume ${path}`,
      "expected the work of the same request, got another's.",
      hint,
    );
  }
  const stages = new Map<string, FinishedStage>();
  let isComplete = false;
  const there = new Set(await readdir(path));
  for (const [i, content] of lines.entries()) {
    const parsed = line.safeParse(jsonOf(content));
    if (!parsed.success) {
      throw new EspalierError("format", `${journal}:${i + 2}`, "expected a finished stage, got another line.");
    }
    if ("complete" in parsed.data) isComplete = true;
    else {
      const { stage, file, layers, skipped } = parsed.data;
      // Where the whole is in its place, the files of its stages may be gone.
      const kept = there.has(file) || lines.at(-1) !== completeLine;
      stages.set(stage, { layers, skipped, tensors: kept ? await tensorsIn(join(path, file)) : new Map() });
    }
  }
  if (text !== null && whole !== text) await truncate(journal, Buffer.byteLength(whole));
  const append = (value: string): Promise<void> => appendSynced(journal, value).catch(refuse(path));
  if (whole === "") {
    await append(header);
    await syncFolder(path);
  }
  return {
    isComplete,
    get: (stage) => stages.get(stage),
    add: async (stage, { layers, skipped, tensors }) => {
      const file = `stage-${String(stages.size + 1).padStart(5, "0")}.safetensors`;
      await saveSafetensors({ tensors, metadata: new Map() }, join(path, file));
      await append(`${JSON.stringify({ stage, file, layers, skipped })}\n`);
      stages.set(stage, { layers, skipped, tensors: await tensorsIn(join(path, file)) });
    },
    complete: () => append(`${completeLine}\n`),
    remove: async () => {
      // The journal last: as long as it is there, a run that is killed here is gone on with.
      for (const file of await readdir(path)) {
        if (file !== journalFile) await rm(join(path, file), { recursive: true, force: true });
      }
      await rm(path, { recursive: true, force: true });
    },
  };
}

async function tensorsIn(file: string): Promise<FinishedStage["tensors"]> {
  return (await readSafetensors(await fileSource(file))).tensors;
}

async function appendSynced(path: string, text: string): Promise<void> {
  const handle = await open(path, "a");
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function refuse(path: string): (cause: unknown) => never {
  return (cause) => {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const hint = "Check the disk and path.";
    throw new EspalierError("file", path, `expected a folder that can be written to, got "${reason}".`, hint, {
      cause,
    });
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
