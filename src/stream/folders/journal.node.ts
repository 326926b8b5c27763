import { access, mkdir, open, readdir, readFile, rm, truncate } from "node:fs/promises";
import { join } from "node:path";
import type * as z from "zod";
import { syncFolder } from "../../formats/whole-files.node.ts";
import { EspalierError } from "../../tensor/error.ts";

/** What is finished of a job, a line for each part, beside the files that belong to them. */
export interface WorkJournal<T> {
  /** What earlier runs of the same request noted. */
  readonly lines: readonly T[];
  /** Notes a part; it is stored when this is done. Throws `file`. */
  append(line: T): Promise<void>;
  /** Removes the folder with all that lies in it. */
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

/** What an earlier run's journal was for; undefined where there is none. */
export async function earlierRequest(path: string): Promise<unknown> {
  const [first = ""] = (await readFile(join(path, journalFile), "utf8").catch(() => "")).split("\n", 1);
  const header = jsonOf(first);
  return typeof header === "object" && header !== null && "espalier" in header ? header.espalier : undefined;
}

/**
 * Opens or makes a folder of work with its journal. `request` says what it is for: a folder of another request is refused, and
 * one that is there already unless `resume` asks to go on with it. What a killed run left half-written is removed. Throws
 * `request`, `file`, and `format` for a line that is not `expected`.
 */
export async function openWorkJournal<T>(
  path: string,
  request: Readonly<Record<string, unknown>>,
  line: z.ZodType<T>,
  { resume, expected }: { readonly resume: boolean; readonly expected: string },
): Promise<WorkJournal<T>> {
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
  const [first = "", ...rest] = whole === "" ? [] : whole.slice(0, -1).split("\n");
  if (whole !== "" && `${first}\n` !== header) {
    const hint = `Repeat the options of the run that it belongs to, or remove "${path}".`;
    const message = "expected the work of the same request, got another's.";
    throw new EspalierError("request", `--resume ${path}`, message, hint);
  }
  const lines = rest.map((content, i) => {
    const parsed = line.safeParse(jsonOf(content));
    if (parsed.success) return parsed.data;
    throw new EspalierError("format", `${journal}:${i + 2}`, `expected ${expected}, got another line.`);
  });
  if (text !== null && whole !== text) await truncate(journal, Buffer.byteLength(whole));
  const append = (value: string): Promise<void> => appendSynced(journal, value).catch(refuse(path));
  if (whole === "") {
    await append(header);
    await syncFolder(path);
  }
  return {
    lines,
    append: (part) => append(`${JSON.stringify(part)}\n`),
    remove: async () => {
      // The journal last: as long as it is there, a run that is killed here is gone on with.
      for (const file of await readdir(path)) {
        if (file !== journalFile) await rm(join(path, file), { recursive: true, force: true });
      }
      await rm(path, { recursive: true, force: true });
    },
  };
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
