import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { loadCheckpoint, methods, pruneFolderUnits } from "../../src/index.node.ts";
import { checkpointModel } from "../../src/models/checkpoint/checkpoint-model.ts";
import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { inFloat32, openFixtures } from "./fixtures.ts";

const fixtures = openFixtures();
let runtime: Runtime;
let folder = "";
beforeAll(async () => {
  runtime = await openRuntime({ threads: 1, worker: false });
  folder = mkdtempSync(join(tmpdir(), "espalier-units-"));
});
afterAll(async () => {
  await runtime.close();
  rmSync(folder, { recursive: true, force: true });
});

describe("units of a checkpoint", () => {
  it.each([
    ["llama", { intermediate_size: 12, num_attention_heads: 1, num_key_value_heads: 1, hidden_size: 8, head_dim: 4 }],
    ["gpt2", { n_inner: 32, n_embd: 16, n_head: 4 }],
  ] as const)("half of those of %s go, and what a config cannot state stays with its reason", async (name, fields) => {
    const model = checkpointModel(await inFloat32(await fixtures.open(name)));
    const out = join(folder, name);
    const plan = methods.structured({ sparsity: 0.5, roundTo: 1 });
    const report = await pruneFolderUnits(model, out, plan, { runtime, measure: false });
    const small = await loadCheckpoint(out);
    expect(small.checkpoint.config).toMatchObject(fields);
    expect(small.checkpoint.config).not.toHaveProperty("per_layer_config");
    const reasons = report.blocked.flatMap(({ reasons: why }) => why);
    expect(reasons.some((reason) => /v_proj.*on axis 0|has to stay|would have|would be/.test(reason))).toBe(true);
    expect(report.law?.passed).toBe(true);
  });

  it("nothing is written where the checkpoint would compute something else", async () => {
    const model = checkpointModel(await inFloat32(await fixtures.open("llama")));
    // Planted fault: the original graph that is pruned is that of another checkpoint, whose ε is larger.
    const other = checkpointModel(await inFloat32(await fixtures.open("llama", { rms_norm_eps: 0.5 })));
    const out = join(folder, "broken");
    const plan = methods.structured({ sparsity: 0.5, roundTo: 1 });
    await expect(
      pruneFolderUnits({ ...model, graph: other.graph }, out, plan, { runtime, measure: false }),
    ).rejects.toThrow("expected the checkpoint to compute what the pruned graph does");
    expect(readdirSync(folder)).not.toContain("broken");
  });
});
