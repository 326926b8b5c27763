import { describe, expect, it } from "vitest";
import { random } from "./random.ts";

function draw(n: number, next: () => number): number[] {
  return Array.from({ length: n }, next);
}

function mean(values: ArrayLike<number>): number {
  return Array.from(values).reduce((a, b) => a + b, 0) / values.length;
}

describe("random", () => {
  it("keeps its numbers from release to release", () => {
    const r = random(7, "golden", 3);
    expect(draw(3, r.uniform)).toMatchInlineSnapshot(`
      [
        0.908500943609484,
        0.8604142729014724,
        0.285828987138424,
      ]
    `);
    expect(draw(3, r.normal)).toMatchInlineSnapshot(`
      [
        1.5019061982369708,
        -1.0393793041696513,
        0.585008104789941,
      ]
    `);
    expect([...r.permutation(8)]).toMatchInlineSnapshot(`
      [
        4,
        2,
        5,
        7,
        1,
        6,
        3,
        0,
      ]
    `);
  });

  it("gives each label path its own stream, however much was drawn", () => {
    const parent = random(1);
    const before = parent.split("a").uniform();
    parent.uniform();
    expect(parent.split("a").uniform()).toBe(before);
    expect(random(1, "a").uniform()).toBe(before);
    const others = [random(1), random(2, "a"), random(1, "b"), random(1, "a", "b"), random(1, "ab"), random(1, 1)];
    others.push(random(1, "1"), random(1, "a,1:b"), random(1, "a", 1), random(1, "a1"));
    expect(new Set([before, ...others.map((r) => r.uniform())]).size).toBe(11);
  });

  it("is uniform and normal in its first moments", () => {
    const r = random(3);
    const n = 200_000;
    const uniforms = new Float64Array(n);
    r.fillUniform(uniforms, -1, 3);
    expect(Math.abs(mean(uniforms) - 1)).toBeLessThan(0.02);
    expect(Math.min(...uniforms.slice(0, 5000))).toBeGreaterThanOrEqual(-1);
    const normals = new Float64Array(n);
    r.fillNormal(normals, 2, 3);
    expect(Math.abs(mean(normals) - 2)).toBeLessThan(0.03);
    expect(Math.abs(mean(normals.map((x) => ((x - 2) / 3) ** 2)) - 1)).toBeLessThan(0.02);
    expect(Math.abs(mean(normals.map((x) => ((x - 2) / 3) ** 4)) - 3)).toBeLessThan(0.1);
    const beyond = normals.filter((x) => Math.abs(x - 2) > 3 * 1.959964).length / n;
    expect(Math.abs(beyond - 0.05)).toBeLessThan(0.003);
  });

  it("shuffles every order equally often", () => {
    const r = random(11);
    const counts = new Map<string, number>();
    for (let i = 0; i < 24_000; i++) {
      const items = ["a", "b", "c", "d"];
      r.shuffle(items);
      const key = items.join("");
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    const chiSquare = [...counts.values()].reduce((sum, c) => sum + (c - 1000) ** 2 / 1000, 0);
    expect(counts.size).toBe(24);
    expect(chiSquare).toBeLessThan(50); // 23 degrees of freedom: p about 0.001
  });

  it("samples without replacement", () => {
    const r = random(5);
    const drawn = r.sample(100, 40);
    expect(new Set(drawn).size).toBe(40);
    expect(drawn.every((i) => i >= 0 && i < 100)).toBe(true);
    expect(r.sample(3, 10).length).toBe(3);
    expect([...r.permutation(50)].sort((a, b) => a - b)).toEqual([...Array(50).keys()]);
  });

  it("draws weighted samples as drawing one after the other would", () => {
    const r = random(9);
    const weights = [1, 2, 5, 0];
    const n = 40_000;
    let first = 0;
    let pair = 0;
    for (let i = 0; i < n; i++) {
      const drawn = r.weightedSample(weights, 2);
      if (drawn[0] === 2) first++;
      if (drawn[0] === 2 && drawn[1] === 0) pair++;
    }
    expect(Math.abs(first / n - 5 / 8)).toBeLessThan(0.01);
    expect(Math.abs(pair / n - (5 / 8) * (1 / 3))).toBeLessThan(0.01);
    expect([...r.weightedSample(weights, 4)].sort()).toEqual([0, 1, 2]);
  });

  it("would notice a sampler that ignores weights", () => {
    const r = random(9);
    const first = draw(4000, () => Number(r.sample(4, 2)[0] === 2));
    expect(Math.abs(mean(first) - 5 / 8)).toBeGreaterThan(0.01);
  });
});
