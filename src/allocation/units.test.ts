import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { runningCost } from "../cost/running-cost.ts";
import { sizesAt, type UnitCounts } from "../cost/sizes-at.ts";
import { type Group, unitCount } from "../coupling/couple.ts";
import { int, ints } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import { type Analysis, analyse } from "../models/analysis.ts";
import { openRuntime } from "../runtime/open-runtime.node.ts";
import { EspalierError } from "../tensor/error.ts";
import { random } from "../tensor/random.ts";
import { tensor } from "../tensor/tensor.ts";
import { meets, type Target } from "./target.ts";
import { allocateUnits, type UnitAllocationOptions, unitAllocationDefaults, widen } from "./units.ts";

const runtime = await openRuntime({ device: "cpu", threads: 1, worker: false });
afterAll(() => runtime.close());

interface Layer {
  readonly kind: "plain" | "residual" | "grouped";
  readonly width: number;
}

/** Convolutions one after the other, some with a sum around them or in four groups; behind them a product. */
async function network(layers: readonly Layer[]): Promise<Analysis> {
  const g = builder("layers", 17);
  g.input("x", "f32", ["n", 4, 6, 6]);
  const pads = ints([1, 1, 1, 1]);
  const conv = (x: string, shape: readonly number[], groups = 1): string =>
    g.op("Conv", [x, g.constant(tensor("f32", [...shape, 3, 3]), "weight")], { pads, group: int(groups) });
  let [value, from] = ["x", 4];
  for (const { kind, width } of layers) {
    if (kind === "residual") {
      const inner = g.op("Relu", [conv(value, [width, from])]);
      value = g.op("Relu", [g.op("Add", [value, conv(inner, [from, width])])]);
    } else {
      const groups = kind === "grouped" && from % 4 === 0 ? 4 : 1;
      const wide = groups * Math.ceil(width / groups);
      value = g.op("Relu", [conv(value, [wide, from / groups], groups)]);
      from = wide;
    }
  }
  const pooled = g.op("Reshape", [g.op("GlobalAveragePool", [value]), g.int64([-1, from])]);
  g.output(g.op("MatMul", [pooled, g.constant(tensor("f32", [from, 3]), "head")], {}, "y"), "f32", ["n", 3]);
  return analyse(g.finish(), runtime);
}

function scoresOf({ coupling }: Analysis, seed: number): ReadonlyMap<Group, Float64Array> {
  const free = coupling.groups.filter(({ blocked }) => blocked.length === 0);
  return new Map(
    free.map((group) => {
      const scores = new Float64Array(unitCount(group));
      random(seed, group.id).fillUniform(scores);
      return [group, scores];
    }),
  );
}

/** Units of all sets of all groups. */
function kept(counts: UnitCounts): number {
  let total = 0;
  for (const [{ sets }, count] of counts) total += sets * count;
  return total;
}

/** True where the counts meet the target, counted from nothing. */
function holds({ cost, coupling }: Analysis, target: Target, counts: UnitCounts, free: UnitCounts): boolean {
  if (target.kind === "sparsity") return kept(counts) <= kept(free);
  return meets(target, cost.total(sizesAt(coupling, counts)), cost.total());
}

/** Groups that could keep one step more. */
function roomLeft(analysis: Analysis, target: Target, counts: UnitCounts, free: UnitCounts, step: number): string[] {
  return [...counts]
    .filter(([group, count]) => count < group.size)
    .filter(([group, count]) => {
      const more = new Map(counts).set(group, widen(group, count, step));
      return holds(analysis, target, more, free);
    })
    .map(([{ id }]) => id);
}

const layers = fc.array(
  fc.record({
    kind: fc.constantFrom<Layer["kind"]>("plain", "plain", "residual", "grouped"),
    width: fc.integer({ min: 1, max: 40 }),
  }),
  { minLength: 1, maxLength: 5 },
);

const targets = fc.oneof(
  fc.record({ kind: fc.constant("macs" as const), keep: fc.double({ min: 0.02, max: 1, noNaN: true }) }),
  fc.record({ kind: fc.constant("params" as const), keep: fc.double({ min: 0.02, max: 1, noNaN: true }) }),
  fc.record({ kind: fc.constant("bytes" as const), max: fc.integer({ min: 100, max: 200_000 }) }),
  fc.record({ kind: fc.constant("sparsity" as const), sparsity: fc.double({ min: 0, max: 1, noNaN: true }) }),
);

describe("allocation of units", () => {
  it("meets the target, and not one step more of any group would", async () => {
    let checked = 0;
    await fc.assert(
      fc.asyncProperty(
        layers,
        targets,
        fc.constantFrom(2, 4, 8, 16),
        fc.constantFrom<UnitAllocationOptions["scope"]>("group", "global"),
        async (list, target, roundTo, scope) => {
          const analysis = await network(list);
          const scores = scoresOf(analysis, list.length);
          const allocate = (step: number) =>
            allocateUnits(scores, analysis.coupling, analysis.cost, target, {
              ...unitAllocationDefaults,
              scope,
              roundTo: step,
            });
          let counts: UnitCounts;
          let free: UnitCounts;
          try {
            counts = allocate(roundTo);
            free = target.kind === "sparsity" ? allocate(1) : counts;
          } catch (error) {
            if (error instanceof EspalierError && error.code === "request") return;
            throw error;
          }
          for (const [{ size }, count] of counts) {
            expect(count % roundTo === 0 || count === size || size <= roundTo).toBe(true);
          }
          const least = [...counts].every(([{ size }, count]) => count <= Math.min(roundTo, size));
          if (target.kind !== "sparsity" || !least) expect(holds(analysis, target, counts, free)).toBe(true);
          expect(roomLeft(analysis, target, counts, free, roundTo)).toEqual([]);
          checked++;
        },
      ),
      { numRuns: 60 },
    );
    expect(checked).toBeGreaterThan(20);
  });

  it("steps single groups where one strength would step all of them together", async () => {
    const analysis = await network(Array.from({ length: 6 }, () => ({ kind: "plain", width: 32 })));
    const scores = scoresOf(analysis, 3);
    const counts = allocateUnits(
      scores,
      analysis.coupling,
      analysis.cost,
      { kind: "macs", keep: 0.5 },
      { ...unitAllocationDefaults, roundTo: 16 },
    );
    expect(new Set(counts.values())).toEqual(new Set([16, 32]));
    const left = analysis.cost.total(sizesAt(analysis.coupling, counts)).macs / analysis.cost.total().macs;
    // All of them at 16 would leave 0.27.
    expect(left).toBeGreaterThan(0.4);
  });

  it("gives back first to the best units under a global scope, to the smallest share under one share for all", async () => {
    const analysis = await network([
      { kind: "plain", width: 32 },
      { kind: "plain", width: 32 },
      { kind: "plain", width: 32 },
    ]);
    const groups = [...scoresOf(analysis, 0).keys()];
    const scores = new Map(groups.map((group, i) => [group, new Float64Array(group.size).fill(i === 1 ? 2 : 1)]));
    const target = { kind: "sparsity", sparsity: 0.4 } as const;
    const allocate = (scope: "group" | "global"): number[] => {
      const options = { ...unitAllocationDefaults, roundTo: 8, scope };
      return [...allocateUnits(scores, analysis.coupling, analysis.cost, target, options).values()];
    };
    // 57 of 96 units may stay: seven steps of eight. Of units that score alike those of the first group go first.
    expect(allocate("group")).toEqual([16, 24, 16]);
    expect(allocate("global")).toEqual([8, 32, 16]);
  });

  it("keeps the same share of every group where the target is a share of the units and widths are free", async () => {
    const analysis = await network([
      { kind: "plain", width: 20 },
      { kind: "plain", width: 30 },
    ]);
    const target = { kind: "sparsity", sparsity: 0.3 } as const;
    const counts = allocateUnits(
      scoresOf(analysis, 1),
      analysis.coupling,
      analysis.cost,
      target,
      unitAllocationDefaults,
    );
    expect([...counts.values()]).toEqual([14, 21]);
  });

  it("follows single groups to the cost that counting from nothing gives", async () => {
    await fc.assert(
      fc.asyncProperty(layers, fc.infiniteStream(fc.nat()), async (list, numbers) => {
        const { coupling, cost } = await network(list);
        const groups = coupling.groups.filter(({ blocked }) => blocked.length === 0);
        const pick = (below: number): number => Number(numbers.next().value) % below;
        const counts = new Map(groups.map((group) => [group, 1 + pick(group.size)]));
        const running = runningCost(coupling, cost, counts);
        for (let change = 0; change < 5 && groups.length > 0; change++) {
          const group = groups[pick(groups.length)];
          if (group === undefined) continue;
          const count = 1 + pick(group.size);
          const found = running.with(group, count);
          expect(found).toEqual(cost.total(sizesAt(coupling, new Map(counts).set(group, count))));
          if (change % 2 === 0) continue;
          running.set(group, count);
          counts.set(group, count);
        }
      }),
      { numRuns: 20 },
    );
  });
});

describe("groups that are alike", () => {
  const layersOf = (widths: readonly number[]): readonly Layer[] => widths.map((width) => ({ kind: "plain", width }));
  const options: UnitAllocationOptions = { ...unitAllocationDefaults, scope: "global" };

  it("keep as many as each other, of the numbers that they may, and as many as the target leaves room for", async () => {
    const analysis = await network(layersOf([12, 12, 12, 5]));
    const scores = scoresOf(analysis, 4);
    const groups = [...scores.keys()].filter(({ size }) => size === 12);
    expect(groups).toHaveLength(3);
    const counts = [2, 3, 7, 12];
    for (const target of [{ kind: "params", keep: 0.5 } as const, { kind: "sparsity", sparsity: 0.3 } as const]) {
      const free = allocateUnits(scores, analysis.coupling, analysis.cost, target, options);
      expect(new Set(groups.map((group) => free.get(group))).size, target.kind).toBeGreaterThan(1);
      const found = allocateUnits(scores, analysis.coupling, analysis.cost, target, {
        ...options,
        alike: [{ groups, counts }],
      });
      const [count = 0, ...others] = new Set(groups.map((group) => found.get(group)));
      expect(others).toEqual([]);
      expect(counts).toContain(count);
      const holds = (these: UnitCounts): boolean =>
        target.kind === "sparsity"
          ? kept(these) <= kept(free)
          : meets(target, analysis.cost.total(sizesAt(analysis.coupling, these)), analysis.cost.total());
      expect(holds(found)).toBe(true);
      const next = counts.find((each) => each > count) ?? 12;
      expect(holds(new Map([...found, ...groups.map((group) => [group, next] as const)]))).toBe(false);
    }
  });

  it("stay whole where the next number is far, while others go: a small target takes no leap", async () => {
    const analysis = await network(layersOf([64, 20, 20]));
    const scores = scoresOf(analysis, 4);
    const [wide] = [...scores.keys()].filter(({ size }) => size === 64);
    const groups = wide === undefined ? [] : [wide];
    const found = allocateUnits(
      scores,
      analysis.coupling,
      analysis.cost,
      { kind: "params", keep: 0.8 },
      {
        ...options,
        scope: "group",
        alike: [{ groups, counts: [32, 64] }],
      },
    );
    expect(groups.map((group) => found.get(group))).toEqual([64]);
    const share = analysis.cost.total(sizesAt(analysis.coupling, found)).params / analysis.cost.total().params;
    expect(share).toBeGreaterThan(0.7);
    expect(share).toBeLessThanOrEqual(0.8);
  });
});
