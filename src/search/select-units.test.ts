import { afterAll, describe, expect, it } from "vitest";
import { sizesAt } from "../cost/sizes-at.ts";
import { fromTensors } from "../data/from-tensors.ts";
import { ints } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Draft } from "../graph/draft.ts";
import { analyse } from "../models/analysis.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { float32Tensor } from "../tensor/numeric.ts";
import { random } from "../tensor/random.ts";
import { unitSelector } from "./select-units.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

const trunk = 4;
const inner = 8;

function noise(label: string, length: number, scale: number): Float32Array {
  const values = new Float32Array(length);
  random(9, "select", label).fillNormal(values);
  return values.map((n) => n * scale);
}

/** Adds x + conv(relu(conv(x))); channel 3 of the inner ones is a copy of channel 0. */
function block(g: Draft, x: string, label: string, scale: number): string {
  const first = noise(`${label}1`, inner * trunk * 9, 0.4);
  first.copyWithin(3 * trunk * 9, 0, trunk * 9);
  const second = noise(`${label}2`, trunk * inner * 9, scale);
  const attributes = { pads: ints([1, 1, 1, 1]), kernel_shape: ints([3, 3]) };
  const weight = (name: string, shape: readonly number[], values: Float32Array) =>
    g.constant(float32Tensor(shape, values), `${label}.${name}`);
  const h = g.op("Relu", [g.op("Conv", [x, weight("first", [inner, trunk, 3, 3], first)], attributes)]);
  const y = g.op("Conv", [h, weight("second", [trunk, inner, 3, 3], second)], attributes);
  return g.op("Relu", [g.op("Add", [y, x])]);
}

const scales = { strong: 0.4, weak: 0.02 };

async function context() {
  const g = builder("two blocks", 17);
  g.input("x", "f32", ["n", trunk, 8, 8]);
  const values = block(g, block(g, "x", "strong", scales.strong), "weak", scales.weak);
  const pooled = g.op("Reshape", [g.op("GlobalAveragePool", [values]), g.int64([-1, trunk])]);
  const head = g.constant(float32Tensor([trunk, 5], noise("head", trunk * 5, 2)), "head");
  g.output(g.op("MatMul", [pooled, head], {}, "y"), "f32", ["n", 5]);
  const analysis = await analyse(g.finish(), runtime);
  const calibration = fromTensors({ x: float32Tensor([40, trunk, 8, 8], noise("x", 40 * trunk * 64, 1)) });
  const groups = analysis.coupling.groups.filter(({ blocked }) => blocked.length === 0);
  return { runtime, analysis, groups, calibration, batchSize: 20 };
}

describe("selection of units", () => {
  it("takes a duplicated channel first, at no cost", async () => {
    const { curves } = await unitSelector(await context());
    expect(curves.map(({ group }) => group.size)).toEqual([inner, inner]);
    for (const { order, error, whole } of curves) {
      expect([0, 3]).toContain(order[0]);
      expect((error[1] ?? 1) / whole).toBeLessThan(1e-2);
      expect((error[2] ?? 0) / whole).toBeGreaterThan(1e-2);
      expect([...error]).toEqual([...error].sort((a, b) => a - b));
      // All gone: what is lost is all of the variance, but for the damping.
      expect((error[inner] ?? 0) / whole).toBeCloseTo(1, 1);
    }
  });

  it("meets the target with room for less than one channel, for any target", async () => {
    const given = await context();
    const selector = await unitSelector(given);
    const full = given.analysis.cost.total().macs;
    for (const keep of [0.9, 0.6, 0.35]) {
      const { counts } = selector.select({ kind: "macs", keep }, { dropBranches: false });
      const macs = given.analysis.cost.total(sizesAt(given.analysis.coupling, counts)).macs / full;
      expect(macs).toBeLessThanOrEqual(keep);
      expect(macs).toBeGreaterThan(keep - 1 / inner);
    }
  });

  it("drops the branch that hardly matters, and only when allowed to", async () => {
    const selector = await unitSelector(await context());
    const { dropped, masks } = selector.select({ kind: "macs", keep: 0.5 }, { power: 1 });
    expect(dropped.map(({ group }) => group.id)).toEqual(["weak.first"]);
    expect([...masks.keys()].map(({ id }) => id)).not.toContain("weak.first");
    expect(selector.select({ kind: "macs", keep: 0.5 }, { power: 1, dropBranches: false }).dropped).toEqual([]);
  });

  it("keeps multiples of what is asked", async () => {
    const selector = await unitSelector(await context());
    const { counts } = selector.select({ kind: "macs", keep: 0.6 }, { roundTo: 4, dropBranches: false });
    expect([...counts.values()].every((n) => n % 4 === 0)).toBe(true);
  });

  it("keeps a share of each group in multiples too, rounded as together costs least", async () => {
    const given = await context();
    const selector = await unitSelector(given);
    const keptAt = (sparsity: number, roundTo: number) => {
      const { counts } = selector.select({ kind: "sparsity", sparsity }, { roundTo });
      return Object.fromEntries(selector.curves.map(({ group }) => [group.id, counts.get(group)]));
    };
    const [strong = "", weak = ""] = Object.keys(keptAt(0.25, 1));
    expect(strong).toContain("strong");
    expect(keptAt(0.25, 1)).toEqual({ [strong]: 6, [weak]: 6 });
    expect(keptAt(0.25, 4)).toEqual({ [strong]: 8, [weak]: 4 });
    expect(keptAt(0.4, 4)).toEqual({ [strong]: 4, [weak]: 4 });
    expect(keptAt(0.9, 4)).toEqual({ [strong]: 4, [weak]: 4 });
  });

  it("says what is possible when the target is not", async () => {
    const selector = await unitSelector(await context());
    expect(() => selector.select({ kind: "macs", keep: 0 }, { dropBranches: false })).toThrow(/of the MACs remain/);
  });
});
