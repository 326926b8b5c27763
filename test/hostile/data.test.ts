import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { zipSync } from "fflate";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeNpy } from "../../src/data/files/npy.ts";
import {
  criterionNamed,
  type ErrorCode,
  EspalierError,
  load,
  methods,
  openData,
  openRuntime,
  prune,
  type Runtime,
} from "../../src/index.node.ts";
import { float32Tensor } from "../../src/tensor/numeric.ts";
import { handMade } from "./hand-made.ts";

let folder: string;
let runtime: Runtime;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "espalier-data-"));
  writeFileSync(join(folder, "model.onnx"), handMade());
  runtime = await openRuntime({ threads: 1, worker: false });
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

const rows = (shape: readonly number[], fill = 0.5): Uint8Array =>
  writeNpy(float32Tensor(shape, new Float32Array(shape.reduce((product, n) => product * n, 1)).fill(fill)));

/** A zip of a small array that says to become `claimed` bytes, in the file's own header and in the directory. */
function bomb(claimed: number): Uint8Array {
  const bytes = zipSync({ "x.npy": [rows([2 ** 16, 4], 0), { level: 9 }] });
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(22, claimed, true);
  view.setUint32(view.getUint32(bytes.length - 6, true) + 24, claimed, true);
  return bytes;
}

const cases: readonly (readonly [name: string, file: string, bytes: () => Uint8Array, code: ErrorCode])[] = [
  ["rows of another length", "wide.npy", () => rows([8, 5]), "data"],
  ["another rank", "flat.npy", () => rows([8]), "data"],
  ["no rows", "none.npy", () => rows([0, 4]), "data"],
  ["rows without elements", "empty.npy", () => rows([8, 0]), "data"],
  ["NaN", "nan.npy", () => rows([8, 4], Number.NaN), "data"],
  ["infinity", "infinite.npy", () => rows([8, 4], Number.POSITIVE_INFINITY), "data"],
  ["an array cut short", "short.npy", () => rows([8, 4]).subarray(0, 150), "format"],
  ["a header cut short", "head.npy", () => rows([8, 4]).subarray(0, 20), "format"],
  ["an empty file", "nothing.npy", () => new Uint8Array(0), "format"],
  ["no zip", "torn.npz", () => Uint8Array.from([0x50, 0x4b, 3, 4, 0, 0]), "format"],
  ["a zip bomb", "bomb.npz", () => bomb(2 ** 31), "format"],
  ["a zip that says too much", "lie.npz", () => bomb(2 ** 25), "format"],
  ["an array of other things", "complex.npy", () => withType(rows([8, 4]), "<f4", "<c8"), "format"],
  ["a pickle", "pickle.npy", () => withType(rows([8, 4]), "<f4", "|O "), "format"],
  ["an unknown ending", "data.xyz", () => rows([8, 4]).subarray(1), "data"],
];

function withType(bytes: Uint8Array, from: string, to: string): Uint8Array {
  return new Uint8Array(Buffer.from(Buffer.from(bytes).toString("latin1").replace(from, to), "latin1"));
}

describe("calibration data that cannot be used", () => {
  it.each(cases)("%s is refused, and the file named", async (_, file, bytes, code) => {
    writeFileSync(join(folder, file), bytes());
    const error = await failure(join(folder, file));
    expect({ code: error.code, names: error.message.includes(file) || error.message.includes('"x"') }).toEqual({
      code,
      names: true,
    });
    expect(error.message).toContain("expected");
  });

  it("an empty folder and a path that is not there are refused", async () => {
    mkdirSync(join(folder, "images"));
    expect((await failure(join(folder, "images"))).message).toContain("images");
    expect((await failure(join(folder, "absent.npy"))).message).toContain("absent.npy");
  });

  it("good data is taken, so that the refusals mean something", async () => {
    writeFileSync(
      join(folder, "good.npy"),
      writeNpy(
        float32Tensor(
          [8, 4],
          Float32Array.from({ length: 32 }, (_, i) => Math.sin(i)),
        ),
      ),
    );
    const { report } = await pruneWith(join(folder, "good.npy"));
    expect(report.after.params).toBeLessThan(report.before.params);
  });

  it("a criterion that needs data says so when there is none", async () => {
    const model = await load(join(folder, "model.onnx"));
    const plan = methods.structured({ sparsity: 0.5, criterion: criterionNamed("activation") });
    await expect(prune(model, plan, { runtime, measure: false })).rejects.toMatchObject({ code: "request" });
  });

  it("a target out of reach is refused with the nearest in reach", async () => {
    const model = await load(join(folder, "model.onnx"));
    const plan = methods.structured({ keepMacs: 0.001 });
    await expect(prune(model, plan, { runtime, measure: false })).rejects.toMatchObject({
      code: "request",
      message: expect.stringMatching(/nearest|least|smallest|reach/),
    });
  });
});

async function pruneWith(path: string) {
  const model = await load(join(folder, "model.onnx"));
  const calibration = await openData(path, { inputs: model.onnx.graph.inputs, model: join(folder, "model.onnx") });
  const plan = methods.structured({ sparsity: 0.5, criterion: criterionNamed("activation") });
  return prune(model, plan, { runtime, calibration, measure: false });
}

async function failure(path: string): Promise<EspalierError> {
  const cause = await pruneWith(path).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (cause instanceof EspalierError) return cause;
  throw new Error(`expected an EspalierError, got ${cause instanceof Error ? cause.stack : String(cause)}`);
}
