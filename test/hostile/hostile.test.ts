import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { z } from "zod";

const lineShape = z.union([
  z.object({ start: z.string() }),
  z.object({
    name: z.string(),
    expect: z.enum(["valid", "broken", "either"]),
    ok: z.boolean(),
    code: z.string(),
    message: z.string(),
    seconds: z.number(),
    written: z.boolean(),
    leftovers: z.array(z.string()),
    untouched: z.boolean(),
    maxRssMb: z.number(),
  }),
]);

type Line = z.infer<typeof lineShape>;
type Result = Exclude<Line, { start: string }>;

/** Own codes of errors that a file can be to blame for; the others say that espalier itself failed. */
const blaming = new Set(["format", "model", "shape", "file", "runtime", "request", "data"]);

describe("hostile files through the whole pruning", () => {
  it("hand-made lies each give a valid model or an error that names the place", async () => {
    const results = await pruneAll("lying");
    expect(results.length).toBeGreaterThan(30);
    expect(results.flatMap(faults)).toEqual([]);
  });

  it("the example cut after every 1/64 of its length is refused", async () => {
    const results = await pruneAll("truncated");
    expect(results).toHaveLength(64);
    expect(results.flatMap(faults)).toEqual([]);
  });

  it("single changed bytes give a valid model or an error", async () => {
    const results = await pruneAll("flipped", process.env["ESPALIER_FLIPS"] ?? "100");
    expect(results.length).toBeGreaterThanOrEqual(100);
    expect(results.some(({ ok }) => ok)).toBe(true);
    expect(results.some(({ ok }) => !ok)).toBe(true);
    expect(results.flatMap(faults)).toEqual([]);
  });

  it("catches planted faults", () => {
    const good: Result = {
      name: "x",
      expect: "broken",
      ok: false,
      code: "format",
      message: 'tensor "w": expected 4 bytes, got 3.',
      seconds: 0.1,
      written: false,
      leftovers: [],
      untouched: true,
      maxRssMb: 100,
    };
    expect(faults(good)).toEqual([]);
    const planted: readonly Partial<Result>[] = [
      { ok: true },
      { code: "foreign" },
      { code: "law" },
      { message: "Invalid typed array length" },
      { seconds: 60 },
      { written: true },
      { leftovers: ["a.tmp"] },
      { untouched: false },
      { maxRssMb: 4000 },
      { expect: "valid" },
    ];
    for (const fault of planted) expect(faults({ ...good, ...fault }).length).toBeGreaterThan(0);
  });
});

/** What is wrong with how a file was treated. */
function faults(result: Result): readonly string[] {
  const found: string[] = [];
  const { name, ok, message, code } = result;
  if (ok && result.expect === "broken") found.push("expected an error");
  if (!ok && result.expect === "valid") found.push(`expected a model, got ${message}`);
  if (!ok && !blaming.has(code)) found.push(`expected an error of espalier, got ${code} ${message}`);
  if (!ok && !/^.+: .*(expected|the runtime refused)/s.test(message)) found.push(`expected a place, got ${message}`);
  if (result.written !== ok) found.push(ok ? "expected an output" : "expected no output");
  if (result.leftovers.length > 0) found.push(`expected nothing left over, got ${result.leftovers.join(", ")}`);
  if (!result.untouched) found.push("expected the input untouched");
  if (result.seconds > 30) found.push(`expected an end, took ${result.seconds} s`);
  if (result.maxRssMb > 1536) found.push(`expected at most 1.5 GiB, took ${result.maxRssMb} MiB`);
  return found.map((fault) => `${name}: ${fault}`);
}

/** Prunes the files of one kind in a process of its own; fails with the file that ended it, if one did. */
async function pruneAll(kind: string, ...rest: string[]): Promise<readonly Result[]> {
  const entry = fileURLToPath(new URL("./prune-cases.ts", import.meta.url));
  const child = spawn(process.execPath, ["--import", "tsx", entry, kind, ...rest], {
    stdio: ["ignore", "pipe", "pipe"],
    timeout: 110_000,
  });
  const texts = { out: "", err: "" };
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    texts.out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    texts.err += text;
  });
  const ended = await new Promise<string>((resolve) => {
    child.on("close", (code, signal) => resolve(signal ?? `${code}`));
  });
  const lines = texts.out
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => lineShape.parse(JSON.parse(line)));
  const last = lines.at(-1);
  if (ended !== "0") {
    throw new Error(`ended by ${ended} at ${last !== undefined && "start" in last ? last.start : "?"}: ${texts.err}`);
  }
  return lines.filter((line): line is Result => "name" in line);
}
