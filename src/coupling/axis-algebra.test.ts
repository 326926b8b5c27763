import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AxisAlgebra, type Term } from "./axis-algebra.ts";

/** Unit of every position for one leaf, -1 where it does not lie. */
function unitsOf(algebra: AxisAlgebra, axis: Term, leaf: Term): number[] {
  const units = new Array<number>(axis.size).fill(-1);
  for (const o of algebra.occurrences(axis)) {
    if (o.leaf !== leaf) continue;
    for (let p = o.offset; p < o.offset + o.length; p++) {
      units[p] = Math.floor((p - o.offset) / o.stride) % leaf.size;
    }
  }
  return units;
}

/** Positions that are removed with a set of units, by pushing 0/1 masks literally. */
function removedBy(algebra: AxisAlgebra, axis: Term, leaf: Term, unit: number): number[] {
  return unitsOf(algebra, axis, leaf).flatMap((u, position) => (u === unit ? [position] : []));
}

describe("products and concatenations", () => {
  it("splits heads from dimensions and keeps both free", () => {
    const a = new AxisAlgebra();
    const width = a.leaf(12);
    const heads = a.leaf(3);
    const dim = a.leaf(4);
    a.unify(width, a.product([heads, dim]));
    expect(a.leaves(width)).toEqual([heads, dim]);
    expect(removedBy(a, width, heads, 1)).toEqual([4, 5, 6, 7]);
    expect(removedBy(a, width, dim, 3)).toEqual([3, 7, 11]);
  });

  it("ties the halves of a rotary embedding", () => {
    const a = new AxisAlgebra();
    const dim = a.leaf(8);
    const [low, high] = [a.leaf(4), a.leaf(4)];
    a.unify(dim, a.concat([low, high]));
    const turned = a.concat([high, low]);
    a.unify(turned, dim);
    const [leaf, ...rest] = a.leaves(dim);
    expect(rest).toEqual([]);
    expect(leaf?.reasons).toBeNull();
    if (leaf !== undefined) expect(removedBy(a, dim, leaf, 2)).toEqual([2, 6]);
  });

  it("ties equal parts of a concatenation to a product and keeps the count whole", () => {
    const a = new AxisAlgebra();
    const [left, right] = [a.leaf(6), a.leaf(6)];
    const shuffle = a.product([a.leaf(2), a.leaf(6)]);
    const joined = a.concat([left, right]);
    a.unify(joined, shuffle);
    expect(a.find(left)).toBe(a.find(right));
    expect(a.find(left).reasons).toBeNull();
  });

  it("blocks what a reshape mixes and nothing else", () => {
    const a = new AxisAlgebra();
    const [x, y, z] = [a.leaf(6), a.leaf(4), a.leaf(5)];
    const [u, v, w] = [a.leaf(4), a.leaf(6), a.leaf(5)];
    a.unify(a.product([x, y, z]), a.product([u, v, w]));
    for (const term of [x, y, u, v]) expect(a.leaves(term).every((leaf) => leaf.reasons !== null)).toBe(true);
    expect(a.find(z)).toBe(a.find(w));
    expect(a.find(z).reasons).toBeNull();
  });

  it("passes reasons on through unification and refinement", () => {
    const a = new AxisAlgebra();
    const [x, y] = [a.leaf(12), a.leaf(12)];
    a.block(x, "because");
    a.unify(x, y);
    const [p, q] = [a.leaf(3), a.leaf(4)];
    a.unify(y, a.product([p, q]));
    expect([...(a.find(p).reasons ?? [])]).toEqual(["because"]);
    expect([...(a.find(q).reasons ?? [])]).toEqual(["because"]);
  });
});

describe("laws on random terms", () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 5 });

  it("covers every position of an axis by leaves, each exactly one product or segment deep", () => {
    fc.assert(
      fc.property(sizes, fc.boolean(), (parts, joined) => {
        const a = new AxisAlgebra();
        const leaves = parts.map((n) => a.leaf(n));
        const axis = joined ? a.concat(leaves) : a.product(leaves);
        for (const leaf of a.leaves(axis)) {
          if (leaf.size === 1) continue;
          const counts = new Map<number, number>();
          for (const u of unitsOf(a, axis, leaf)) if (u >= 0) counts.set(u, (counts.get(u) ?? 0) + 1);
          expect(new Set(counts.values()).size).toBe(1);
          expect(counts.size).toBe(leaf.size);
        }
      }),
    );
  });

  it("makes both sides of a unification remove the same positions", () => {
    fc.assert(
      fc.property(sizes, sizes, fc.integer({ min: 0, max: 30 }), (first, second, pick) => {
        const a = new AxisAlgebra();
        const left = a.product(first.map((n) => a.leaf(n)));
        const rest = a.leaf(second.reduce((p, n) => p * n, 1));
        const right = a.product([...second.map((n) => a.leaf(n))]);
        const other = a.leaf(first.reduce((p, n) => p * n, 1));
        const x = a.product([left, rest]);
        const y = a.product([other, right]);
        a.unify(x, y);
        const leaves = a.leaves(x);
        expect(new Set(leaves)).toEqual(new Set(a.leaves(y)));
        const leaf = leaves[pick % leaves.length];
        if (leaf !== undefined) expect(unitsOf(a, x, leaf)).toEqual(unitsOf(a, y, leaf));
      }),
    );
  });

  it("catches a planted fault: an axis read in the wrong order does not agree", () => {
    const a = new AxisAlgebra();
    const [p, q] = [a.leaf(3), a.leaf(4)];
    expect(unitsOf(a, a.product([p, q]), p)).not.toEqual(unitsOf(a, a.product([q, p]), p));
  });
});
