/** Things that grow by steps. */
export interface Growth {
  readonly count: number;
  /** What the next step of thing i is worth, compared by the first number that differs; null where it has none left. */
  worth(i: number): readonly number[] | null;
  /** Makes the next step of thing i, or refuses it; one that is refused now is refused for good. */
  take(i: number): boolean;
}

/**
 * Makes steps, those worth most first, until each thing has no step left or had one refused. Of equal worth the lower
 * number goes first. Looks at each thing once for every step of it: n log n comparisons in all.
 */
export function growGreedily({ count, worth, take }: Growth): void {
  const heap: Step[] = [];
  const offer = (i: number): void => {
    const value = worth(i);
    if (value !== null) push(heap, { i, value });
  };
  for (let i = 0; i < count; i++) offer(i);
  for (let step = pop(heap); step !== undefined; step = pop(heap)) if (take(step.i)) offer(step.i);
}

interface Step {
  readonly i: number;
  readonly value: readonly number[];
}

function before(a: Step, b: Step): boolean {
  for (const [k, value] of a.value.entries()) {
    const other = b.value[k] ?? 0;
    if (value !== other) return value > other;
  }
  return a.i < b.i;
}

/** Adds a step to a binary heap whose first is the best. */
function push(heap: Step[], step: Step): void {
  let at = heap.length;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    const above = heap[parent];
    if (above === undefined || !before(step, above)) break;
    heap[at] = above;
    at = parent;
  }
  heap[at] = step;
}

function pop(heap: Step[]): Step | undefined {
  const [best] = heap;
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return last;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    let below = heap[child];
    const right = heap[child + 1];
    if (below !== undefined && right !== undefined && before(right, below)) {
      child++;
      below = right;
    }
    if (below === undefined || !before(below, last)) break;
    heap[at] = below;
    at = child;
  }
  heap[at] = last;
  return best;
}
