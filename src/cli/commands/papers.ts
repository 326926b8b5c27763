import { existsSync, readFileSync } from "node:fs";
import {
  papers as catalogue,
  EspalierError,
  findingsSection,
  type Journal,
  openRuntime,
  openTestbed,
  paperNamed,
  paperSection,
  papersWhere,
  reproduce,
  reproductionOn,
  resultsPage,
  testbedIds,
} from "../../index.node.ts";
import { choice, command, flag, integer, list, string } from "../command.ts";
import { drawSchema, fileJournal } from "../journal.ts";
import { table } from "../table.ts";

export const papersCommand = command({
  name: "papers",
  summary: "The catalogue: list papers, show one, or run its reproduction and see what it finds.",
  args: ["<list|show|run>", "[papers...]"],
  options: {
    where: list("AXIS=WORD", "Only papers with this word in their record, for example speedup=structured."),
    testbed: string("NAME", `Where to run: ${testbedIds.join(", ")}; the first of the paper's whose files are here.`),
    draws: integer("N", "Calibration draws; 3 unless told.", 1, 100),
    at: list("SHARE", "Only these of the shares removed that the paper's run compares."),
    samples: integer("N", "Images or windows of text of the test set; 2000 unless told.", 10, 1e6),
    resume: string("FILE", "Keep finished trainings in this file, and continue from it when it is there."),
    out: string("FILE", "Put what the runs found into this Markdown page."),
    device: choice(["cpu", "wasm", "webgpu", "cuda"], "Where to run; cpu unless told."),
    threads: integer("N", "Runtime threads; all cores unless told.", 1, 1024),
    json: flag("Print the answer as JSON and nothing else on stdout."),
  },
  examples: [
    "espalier papers list --where data=none",
    "espalier papers show wanda",
    "espalier papers run wanda --testbed glyphs",
  ],
  async run([action = "", ...ids], options, host) {
    if (action === "list") {
      const found = papersWhere(catalogue, options.where);
      if (options.json)
        return host.print(
          JSON.stringify(found.map(({ id, summary, cite, record }) => ({ id, summary, cite, record }))),
        );
      const rows = found.map(({ id, summary, cite, record }) => [
        id,
        `${cite.year}`,
        record.speedup.join(", "),
        record.data.join(", "),
        summary,
      ]);
      return host.print(table([["paper", "year", "speed-up", "data", "what it does"], ...rows]));
    }
    if (action !== "show" && action !== "run") {
      throw new EspalierError("request", "papers", `expected list, show or run, got "${action}".`);
    }
    if (ids.length === 0) {
      throw new EspalierError(
        "request",
        `papers ${action}`,
        "expected the id of a paper, got none.",
        "espalier papers list shows them all.",
      );
    }
    const papers = ids.map((id) => paperNamed(id));
    if (action === "show") {
      if (options.json) host.print(JSON.stringify(papers.length === 1 ? papers[0] : papers));
      else for (const paper of papers) host.print(paperSection(paper));
      return;
    }
    const { device, threads, draws, samples = 2000 } = options;
    const at = options.at.map(Number);
    const request = { command: "papers run", papers: ids, samples, device };
    const journal =
      options.resume === undefined ? undefined : await fileJournal(options.resume, request, drawSchema, host);
    const runtime = await openRuntime({
      ...(device === undefined ? {} : { device }),
      ...(threads === undefined ? {} : { threads }),
      signal: host.signal,
    });
    try {
      const answers: object[] = [];
      for (const paper of papers) {
        const wanted = options.testbed === undefined ? paper.reproductions[0].testbeds : [options.testbed];
        const testbed = await firstPresent(wanted, (reason) => host.note(reason), {
          samples,
          runtime,
          progress: host.progress,
          signal: host.signal,
        });
        const findings = await reproduce(paper, testbed, {
          runtime,
          ...(draws === undefined ? {} : { draws }),
          ...(at.length === 0 ? {} : { at }),
          ...(journal === undefined ? {} : { journal: partOf(journal, paper.id) }),
          progress: host.progress,
          signal: host.signal,
        });
        const flags = `${at.length === 0 ? "" : ` --at ${at.join(" ")}`}${draws === undefined ? "" : ` --draws ${draws}`}${samples === 2000 ? "" : ` --samples ${samples}`}`;
        const section = findingsSection(
          paper,
          findings,
          `espalier papers run ${paper.id} --testbed ${testbed.id}${flags}`,
        );
        answers.push({ paper: paper.id, claim: reproductionOn(paper, testbed.id).claim, ...findings });
        if (!options.json) host.print(section);
        // After each, so that what is done is kept when a later one is stopped.
        if (options.out !== undefined) await host.writeText(options.out, resultsPage(readPage(options.out), section));
      }
      if (options.json) host.print(JSON.stringify(answers.length === 1 ? answers[0] : answers));
    } finally {
      await runtime.close();
    }
  },
});

/** The first testbed whose files are here; the last one with its reason when there is none. */
async function firstPresent(
  ids: readonly string[],
  note: (reason: string) => void,
  options: NonNullable<Parameters<typeof openTestbed>[1]>,
) {
  for (const id of ids.slice(0, -1)) {
    const testbed = await openTestbed(id, options);
    if (!("absent" in testbed)) return testbed;
    note(testbed.absent);
  }
  return openTestbed(ids.at(-1) ?? "", options);
}

/** What a journal has of one paper. */
function partOf<T>(journal: Journal<T>, id: string): Journal<T> {
  return { get: (key) => journal.get(`${id} ${key}`), add: (key, value) => journal.add(`${id} ${key}`, value) };
}

function readPage(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}
