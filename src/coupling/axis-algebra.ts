import type { Axis } from "../ops/spec.ts";

/** What a term is made of. A leaf is a factor: one class of indices that are kept or removed together. */
type Structure =
  | { readonly kind: "leaf" }
  | { readonly kind: "product"; readonly parts: readonly Term[] }
  | { readonly kind: "concat"; readonly parts: readonly Term[] };

/**
 * A term of the algebra: an axis, or a part of one. Terms that are unified forward to one representative;
 * a leaf can be refined into a product or a concatenation later, everywhere it occurs.
 */
export class Term implements Axis {
  readonly size: number;
  structure: Structure;
  forward: Term | null = null;
  /** Why nothing may be removed from it; meaningful on leaves. */
  reasons: Set<string> | null = null;

  constructor(size: number, structure: Structure = { kind: "leaf" }) {
    this.size = size;
    this.structure = structure;
  }
}

/** A leaf inside an axis: position p in [offset, offset + length) is unit ⌊(p - offset) / stride⌋ mod leaf.size. */
export interface Occurrence {
  readonly leaf: Term;
  readonly offset: number;
  readonly length: number;
  readonly stride: number;
}

const MAX_REASONS = 4;

/**
 * Factored axes (SPA, section B, in the exact and linear form): every axis is a leaf, a row-major product or a
 * concatenation of axes, and operators only unify. A plain union-find over single positions would tie all i with
 * all j in a merged axis (i, j); factors do not.
 */
export class AxisAlgebra {
  leaf(size: number): Term {
    return new Term(size);
  }

  product(parts: readonly Term[]): Term {
    const real = parts.filter((part) => part.size !== 1);
    if (real.length === 1 && real[0] !== undefined) return real[0];
    let size = 1;
    for (const part of real) size *= part.size;
    return real.length === 0 ? new Term(1) : new Term(size, { kind: "product", parts: real });
  }

  concat(parts: readonly Term[]): Term {
    const real = parts.filter((part) => part.size !== 0);
    if (real.length === 1 && real[0] !== undefined) return real[0];
    let size = 0;
    for (const part of real) size += part.size;
    return new Term(size, { kind: "concat", parts: real });
  }

  /** The representative of a term. */
  find(term: Term): Term {
    let root = term;
    while (root.forward !== null) root = root.forward;
    let walk = term;
    while (walk.forward !== null) {
      const next = walk.forward;
      walk.forward = root;
      walk = next;
    }
    return root;
  }

  /** Forbids removal from every leaf of the term. */
  block(term: Term, because: string): void {
    for (const leaf of this.leaves(term)) addReason(leaf, because);
  }

  /** Distinct leaves of a term, in order of first occurrence. */
  leaves(term: Term): readonly Term[] {
    const found = new Set<Term>();
    const seen = new Set<Term>();
    const stack = [term];
    while (stack.length > 0) {
      const top = stack.pop();
      if (top === undefined) break;
      const t = this.find(top);
      if (seen.has(t)) continue;
      seen.add(t);
      if (t.structure.kind === "leaf") found.add(t);
      else for (let i = t.structure.parts.length - 1; i >= 0; i--) stack.push(t.structure.parts[i] ?? t);
    }
    return [...found];
  }

  /** Every place where a leaf lies in the axis. */
  occurrences(term: Term): readonly Occurrence[] {
    const out: Occurrence[] = [];
    this.#place(term, 0, 1, 1, out);
    return out;
  }

  /** Positions of an axis that are left when `kept` tells how many units of each leaf are. */
  count(term: Term, kept: (leaf: Term) => number): number {
    const t = this.find(term);
    if (t.structure.kind === "leaf") return t.size === 1 ? 1 : kept(t);
    let total = t.structure.kind === "product" ? 1 : 0;
    for (const part of t.structure.parts) {
      const n = this.count(part, kept);
      total = t.structure.kind === "product" ? total * n : total + n;
    }
    return total;
  }

  /** Makes position i of `a` and position i of `b` the same unit; where they cannot be matched, both are blocked. */
  unify(first: Term, second: Term): void {
    const a = this.find(first);
    const b = this.find(second);
    if (a === b || a.size === 1 || b.size === 1) return;
    if (a.size !== b.size) {
      this.#giveUp([a, b], `sizes ${a.size} and ${b.size} meet`);
    } else if (a.structure.kind === "leaf") this.#forward(a, b);
    else if (b.structure.kind === "leaf") this.#forward(b, a);
    else if (a.structure.kind === "product" && b.structure.kind === "product") {
      this.#alignProducts([a], [b]);
      this.#join(a, b);
    } else if (a.structure.kind === "concat" && b.structure.kind === "concat") {
      this.#alignConcats([a], [b]);
      this.#join(a, b);
    } else if (a.structure.kind === "product") this.#mixed(a, b);
    else this.#mixed(b, a);
  }

  /** Two structured terms that now agree leaf by leaf become one. */
  #join(a: Term, b: Term): void {
    const from = this.find(a);
    const to = this.find(b);
    if (from !== to) from.forward = to;
  }

  /** A leaf becomes another term, handing its reasons on. */
  #forward(leaf: Term, to: Term): void {
    leaf.forward = to;
    if (leaf.reasons !== null) for (const reason of leaf.reasons) this.block(to, reason);
    leaf.reasons = null;
  }

  #refine(leaf: Term, structure: Structure): void {
    const reasons = leaf.reasons;
    leaf.structure = structure;
    leaf.reasons = null;
    if (reasons !== null) for (const reason of reasons) this.block(leaf, reason);
  }

  #giveUp(terms: readonly Term[], because: string): void {
    for (const term of terms) this.block(term, because);
  }

  /** Outermost parts of a list with nested products opened and sizes of 1 dropped. */
  #flatProduct(terms: readonly Term[]): Term[] {
    const out: Term[] = [];
    for (const term of terms) {
      const t = this.find(term);
      if (t.size === 1) continue;
      if (t.structure.kind === "product") out.push(...this.#flatProduct(t.structure.parts));
      else out.push(t);
    }
    return out;
  }

  #flatConcat(terms: readonly Term[]): Term[] {
    const out: Term[] = [];
    for (const term of terms) {
      const t = this.find(term);
      if (t.structure.kind === "concat") out.push(...this.#flatConcat(t.structure.parts));
      else out.push(t);
    }
    return out;
  }

  /** Matches two products of the same total size from the left, splitting leaves where one size divides the other. */
  #alignProducts(as: readonly Term[], bs: readonly Term[]): void {
    let left = this.#flatProduct(as);
    let right = this.#flatProduct(bs);
    while (left.length > 0 && right.length > 0) {
      const a = left[0];
      const b = right[0];
      if (a === undefined || b === undefined) return;
      if (a.size === b.size) {
        this.unify(a, b);
        left = this.#flatProduct(left.slice(1));
        right = this.#flatProduct(right.slice(1));
        continue;
      }
      const [bigs, smalls] = a.size > b.size ? [left, right] : [right, left];
      const [big, small] = a.size > b.size ? [a, b] : [b, a];
      if (big.structure.kind === "leaf" && big.size % small.size === 0) {
        this.#refine(big, { kind: "product", parts: [small, this.leaf(big.size / small.size)] });
        left = this.#flatProduct(left).slice(1);
        right = this.#flatProduct(right).slice(1);
        continue;
      }
      const prefix = prefixOfSize(smalls, big.size);
      if (prefix > 0) {
        this.unify(this.product(smalls.slice(0, prefix)), big);
        const rest = this.#flatProduct(bigs.slice(1));
        const others = this.#flatProduct(smalls.slice(prefix));
        [left, right] = a.size > b.size ? [rest, others] : [others, rest];
        continue;
      }
      // No common boundary here: block up to the next place where both products have the same size.
      const [m, n] = commonBoundary(left, right);
      this.#giveUp([...left.slice(0, m), ...right.slice(0, n)], "a reshape mixes it with other axes");
      left = left.slice(m);
      right = right.slice(n);
    }
  }

  /** Matches two concatenations of the same total size, cutting parts at each other's boundaries. */
  #alignConcats(as: readonly Term[], bs: readonly Term[]): void {
    let left = this.#flatConcat(as);
    let right = this.#flatConcat(bs);
    while (left.length > 0 && right.length > 0) {
      const a = left[0];
      const b = right[0];
      if (a === undefined || b === undefined) return;
      if (a.size === b.size) {
        this.unify(a, b);
        left = this.#flatConcat(left.slice(1));
        right = this.#flatConcat(right.slice(1));
        continue;
      }
      const [big, at] = a.size > b.size ? [a, b.size] : [b, a.size];
      if (!this.#cut(big, at)) {
        this.#giveUp([...left, ...right], "a concatenation cuts through merged axes");
        return;
      }
      left = this.#flatConcat(left);
      right = this.#flatConcat(right);
    }
  }

  /** Turns a leaf or product into a concatenation with a boundary at `at`; false when it cannot be cut. */
  #cut(term: Term, at: number): boolean {
    const t = this.find(term);
    if (t.structure.kind === "leaf") {
      this.#refine(t, { kind: "concat", parts: [this.leaf(at), this.leaf(t.size - at)] });
      return true;
    }
    if (t.structure.kind !== "product") return true;
    const parts = this.#flatProduct([t]);
    const head = parts[0];
    if (head === undefined) return false;
    const row = t.size / head.size;
    this.block(head, "a slice or concatenation cuts through the axis that it leads");
    const rest = this.product(parts.slice(1));
    // A product whose head stays whole is its rest repeated.
    t.structure = { kind: "concat", parts: Array.from({ length: head.size }, () => rest) };
    return at % row === 0 || this.#cut(rest, at % row);
  }

  /** A product meets a concatenation: its leading factor counts equal segments, and stays whole. */
  #mixed(product: Term, concat: Term): void {
    const parts = this.#flatProduct([product]);
    const segments = this.#flatConcat([concat]);
    const head = parts[0];
    const first = segments[0];
    if (head === undefined || first === undefined) return;
    const equal = segments.every((segment) => segment.size === first.size);
    if (head.structure.kind === "leaf" && equal && head.size > segments.length && head.size % segments.length === 0) {
      const count = this.leaf(segments.length);
      this.#refine(head, { kind: "product", parts: [count, this.leaf(head.size / segments.length)] });
    }
    const whole = this.#flatProduct([product]);
    const lead = whole[0];
    if (lead === undefined) return;
    this.block(lead, "its segments are equal parts of a concatenation");
    const rest = this.product(whole.slice(1));
    const repeated = new Term(product.size, {
      kind: "concat",
      parts: Array.from({ length: lead.size }, () => rest),
    });
    this.#alignConcats([repeated], [concat]);
    const from = this.find(concat);
    const to = this.find(product);
    if (from !== to) from.forward = to;
  }

  #place(term: Term, offset: number, repeats: number, stride: number, out: Occurrence[]): void {
    const t = this.find(term);
    if (t.size === 1 && t.structure.kind === "leaf") return;
    if (t.structure.kind === "leaf") {
      out.push({ leaf: t, offset, length: repeats * t.size * stride, stride });
      return;
    }
    if (t.structure.kind === "product") {
      let before = repeats;
      let after = t.size * stride;
      for (const part of t.structure.parts) {
        after /= part.size;
        this.#place(part, offset, before, after, out);
        before *= part.size;
      }
      return;
    }
    for (let r = 0; r < repeats; r++) {
      let at = offset + r * t.size * stride;
      for (const part of t.structure.parts) {
        this.#place(part, at, 1, stride, out);
        at += part.size * stride;
      }
    }
  }
}

function addReason(leaf: Term, because: string): void {
  leaf.reasons ??= new Set();
  if (leaf.reasons.size < MAX_REASONS) leaf.reasons.add(because);
}

/** How many leading terms multiply to exactly `size`; 0 when none do. */
function prefixOfSize(terms: readonly Term[], size: number): number {
  let product = 1;
  for (const [i, term] of terms.entries()) {
    product *= term.size;
    if (product === size) return i + 1;
    if (product > size) return 0;
  }
  return 0;
}

/** The shortest non-empty prefixes of both lists with equal products; the whole lists when there are none. */
function commonBoundary(a: readonly Term[], b: readonly Term[]): [number, number] {
  let i = 0;
  let j = 0;
  let p = a[i++]?.size ?? 1;
  let q = b[j++]?.size ?? 1;
  while (p !== q) {
    if (p < q) {
      if (i === a.length) return [a.length, b.length];
      p *= a[i++]?.size ?? 1;
    } else {
      if (j === b.length) return [a.length, b.length];
      q *= b[j++]?.size ?? 1;
    }
  }
  return [i, j];
}
