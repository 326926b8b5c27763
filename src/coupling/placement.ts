import type { AxisAlgebra, Occurrence, Term } from "./axis-algebra.ts";

/** A stretch of an axis in which units of a group lie. */
export interface Stretch {
  readonly offset: number;
  /** Positions from one unit of a set to its next. */
  readonly stride: number;
  /** For each position from `offset` on: the unit, plus the size of the group for each set that the axis itself counts. */
  readonly units: Int32Array;
}

/** Where the units of a group lie on one axis of one value. Unit u of set s is number s · size + u. */
export interface Placement {
  readonly stretches: readonly Stretch[];
  /** Other axes of the value that tell the rest of the set: what each of their positions adds to its number. */
  readonly across: readonly { readonly axis: number; readonly set: Int32Array }[];
}

/** How many sets a list of parents tells apart. */
export function setCount(parents: readonly Term[]): number {
  return parents.reduce((product, { size }) => product * size, 1);
}

/** Index of the leaf at a position that its occurrence covers. */
function indexAt({ offset, stride, leaf }: Occurrence, position: number): number {
  return Math.floor((position - offset) / stride) % leaf.size;
}

/** Where the index of a parent is told: by occurrences on the same axis, one for each of the leaf's, or by another axis. */
type Told =
  | { readonly kind: "within"; readonly by: readonly Occurrence[] }
  | { readonly kind: "across"; readonly axis: number; readonly by: Occurrence };

/**
 * Where a value tells the index of `parent` for the places of `leaf` on one of its axes; null where it does not, or not
 * in one way only.
 */
export function toldBy(
  algebra: AxisAlgebra,
  axes: readonly Term[],
  axis: number,
  leaf: Term,
  parent: Term,
): Told | null {
  const own = axes[axis];
  if (own === undefined || leaf === parent) return null;
  const here = algebra.occurrences(own);
  const places = here.filter((each) => each.leaf === leaf);
  const covering = places.map(({ offset, length }) =>
    here.filter(
      (each) => each.leaf === parent && each.offset <= offset && each.offset + each.length >= offset + length,
    ),
  );
  const within = covering.flatMap((each) => (each.length === 1 ? each : []));
  if (places.length > 0 && within.length === places.length) return { kind: "within", by: within };
  if (here.some((each) => each.leaf === parent)) return null;
  let found: Told | null = null;
  for (const [i, term] of axes.entries()) {
    const there = i === axis ? [] : algebra.occurrences(term).filter((each) => each.leaf === parent);
    const [only] = there;
    if (only === undefined) continue;
    if (found !== null || there.length > 1 || only.offset !== 0 || only.length !== term.size) return null;
    found = { kind: "across", axis: i, by: only };
  }
  return found;
}

/** Where the units of a leaf lie on an axis of a value that tells all of its parents. */
export function placementOf(
  algebra: AxisAlgebra,
  axes: readonly Term[],
  axis: number,
  leaf: Term,
  parents: readonly Term[],
): Placement {
  const own = axes[axis];
  const places = own === undefined ? [] : algebra.occurrences(own).filter((each) => each.leaf === leaf);
  const stretches = places.map((place) => {
    const units = new Int32Array(place.length);
    for (let p = 0; p < units.length; p++) units[p] = indexAt(place, place.offset + p);
    return { offset: place.offset, stride: place.stride, units };
  });
  const across = new Map<number, Int32Array>();
  let weight = 1;
  for (const parent of parents.toReversed()) {
    const told = toldBy(algebra, axes, axis, leaf, parent);
    if (told?.kind === "within") {
      for (const [i, { offset, units }] of stretches.entries()) {
        const by = told.by[i];
        if (by === undefined) continue;
        for (let p = 0; p < units.length; p++) {
          units[p] = (units[p] ?? 0) + weight * leaf.size * indexAt(by, offset + p);
        }
      }
    } else if (told !== null) {
      const set = across.get(told.axis) ?? new Int32Array(axes[told.axis]?.size ?? 0);
      for (let p = 0; p < set.length; p++) set[p] = (set[p] ?? 0) + weight * indexAt(told.by, p);
      across.set(told.axis, set);
    }
    weight *= parent.size;
  }
  return { stretches, across: [...across].map(([at, set]) => ({ axis: at, set })) };
}
