import type { Node } from "../graph/graph.ts";
import type { AxisAlgebra, Term } from "./axis-algebra.ts";
import { toldBy } from "./placement.ts";

/** An axis of an operand of a node, or a part of it, over which the node's results mix positions. */
export interface Mixing {
  readonly node: Node;
  readonly axis: Term;
}

/** What is known of a graph once all operators have related their axes. */
export interface SetFacts {
  readonly algebra: AxisAlgebra;
  /** Leaves that may lose units, each with the parameters that hold it and the axis there. */
  readonly leaves: ReadonlyMap<Term, readonly { readonly parameter: string; readonly axis: number }[]>;
  /** Axes of every value. */
  readonly values: ReadonlyMap<string, readonly Term[]>;
  readonly nodes: readonly Node[];
  readonly mixing: readonly Mixing[];
}

/**
 * For each leaf its parents: the leaves for whose indices its units can be chosen apart, as long as each keeps as many.
 *
 * Units of leaf l may be renamed for each index of p, and nothing else changes, where every value that holds l tells for
 * each of its places which index of p it belongs to, and every operator treats the indices of p apart: it has p on one axis
 * of each operand, and never sums, normalises or moves over it unless over l as well. So the channels inside each group of
 * a grouped convolution or a group norm, the dimensions inside each head, the query heads of each key head and the hidden
 * units of each direction are found by the same rule. Leaves without parents are left out.
 */
export function findSets(facts: SetFacts): ReadonlyMap<Term, readonly Term[]> {
  const found = new Map<Term, readonly Term[]>();
  const index = indexOf(facts);
  // Inner factors first: where each of two could be chosen apart for the other, the outer one tells the sets.
  for (const [leaf, members] of [...facts.leaves].reverse()) {
    let parents = candidates(facts, leaf, members);
    // What lies in one value alone is never computed with, so there is nothing to gain.
    if (parents.length > 0 && index.valuesOf(leaf).length === 1) parents = [];
    if (parents.length > 0) parents = told(facts, index.valuesOf(leaf), leaf, parents);
    parents = parents.filter((parent) => index.apart(leaf, parent) && !reaches(found, parent, leaf));
    if (parents.length > 0) found.set(leaf, parents);
  }
  for (const leaf of [...found.keys()]) if (index.crossed(leaf, found)) found.delete(leaf);
  return found;
}

/** Leaves that every parameter of a leaf tells. */
function candidates(
  { algebra, values }: SetFacts,
  leaf: Term,
  members: readonly { readonly parameter: string; readonly axis: number }[],
): readonly Term[] {
  let left: readonly Term[] | null = null;
  for (const { parameter, axis } of members) {
    const axes = values.get(parameter) ?? [];
    left ??= [...new Set(axes.flatMap((term) => algebra.leaves(term)))].filter(({ size }) => size > 1);
    left = left.filter((parent) => toldBy(algebra, axes, axis, leaf, parent) !== null);
    if (left.length === 0) return left;
  }
  return left ?? [];
}

/** Of the parents, those that every value with the leaf tells. */
function told(
  { algebra, values }: SetFacts,
  names: readonly string[],
  leaf: Term,
  parents: readonly Term[],
): readonly Term[] {
  let left = parents;
  for (const name of names) {
    const axes = values.get(name) ?? [];
    for (const [axis, term] of axes.entries()) {
      if (left.length === 0) return left;
      if (!algebra.leaves(term).includes(leaf)) continue;
      left = left.filter((parent) => toldBy(algebra, axes, axis, leaf, parent) !== null);
    }
  }
  return left;
}

function reaches(found: ReadonlyMap<Term, readonly Term[]>, from: Term, to: Term): boolean {
  return (found.get(from) ?? []).some((parent) => parent === to || reaches(found, parent, to));
}

/** Answers where leaves are, made when the first leaf asks. */
function indexOf({ algebra, values, nodes, mixing }: SetFacts) {
  const places = new Map<Term, Set<string>>();
  const mixed = new Map<Node, Term[]>();
  const build = (): void => {
    if (places.size > 0) return;
    for (const [name, axes] of values) {
      for (const term of axes) {
        for (const leaf of algebra.leaves(term)) {
          const names = places.get(leaf);
          if (names === undefined) places.set(leaf, new Set([name]));
          else names.add(name);
        }
      }
    }
    for (const { node, axis } of mixing) mixed.set(node, [...(mixed.get(node) ?? []), axis]);
  };
  const valuesOf = (leaf: Term): readonly string[] => {
    build();
    return [...(places.get(leaf) ?? [])];
  };
  /** Axes of a value on which a leaf lies. */
  const axesWith = (name: string, leaf: Term): readonly number[] =>
    (values.get(name) ?? []).flatMap((term, axis) => (algebra.leaves(term).includes(leaf) ? [axis] : []));
  const across = (name: string, leaf: Term, parent: Term): boolean =>
    axesWith(name, leaf).some((axis) => toldBy(algebra, values.get(name) ?? [], axis, leaf, parent)?.kind === "across");

  return {
    valuesOf,
    /** True where every operator treats the indices of a parent apart, in all that has to do with the leaf. */
    apart: (leaf: Term, parent: Term): boolean => {
      const holders = new Set(valuesOf(leaf));
      return nodes.every((node) => {
        const operands = [...node.inputs, ...node.outputs].filter((name) => name !== "");
        const holding = operands.filter((name) => holders.has(name));
        if (holding.length === 0) return true;
        const meets = holding.some((name) => across(name, leaf, parent));
        if (meets && operands.some((name) => axesWith(name, parent).length > 1)) return false;
        return !(mixed.get(node) ?? []).some((axis) => {
          const leaves = algebra.leaves(axis);
          return leaves.includes(parent) && !leaves.includes(leaf);
        });
      });
    },
    /** True where, on some value, the units on one axis depend on a second axis whose own units depend on the first. */
    crossed: (leaf: Term, found: ReadonlyMap<Term, readonly Term[]>): boolean =>
      valuesOf(leaf).some((name) => {
        const axes = values.get(name) ?? [];
        const needs = axes.map((term, axis) =>
          algebra.leaves(term).flatMap((each) =>
            (found.get(each) ?? []).flatMap((parent) => {
              const how = toldBy(algebra, axes, axis, each, parent);
              return how?.kind === "across" ? [how.axis] : [];
            }),
          ),
        );
        const returns = (from: number, to: number, depth: number): boolean =>
          depth > 0 && (needs[from] ?? []).some((next) => next === to || returns(next, to, depth - 1));
        return axes.some((_, axis) => returns(axis, axis, axes.length));
      }),
  };
}
