/** Where a ranking is cut: everything below the threshold goes, and the first `ties` that equal it. */
export interface Cut {
  /** NaN when nothing goes. */
  readonly threshold: number;
  readonly ties: number;
}

/** Masks stretches of one ranking in order, so that ties fall by index across them. */
export class CutMask {
  readonly #threshold: number;
  #ties: number;

  constructor({ threshold, ties }: Cut) {
    this.#threshold = threshold;
    this.#ties = ties;
  }

  /** The mask of the next stretch; 1 keeps. */
  next(scores: Float64Array): Uint8Array {
    const threshold = this.#threshold;
    const mask = new Uint8Array(scores.length);
    // Written so that a threshold of NaN keeps all.
    for (let i = 0; i < mask.length; i++) mask[i] = +!((scores[i] ?? 0) < threshold);
    for (let i = 0; i < mask.length && this.#ties > 0; i++) {
      if (scores[i] === threshold) {
        mask[i] = 0;
        this.#ties--;
      }
    }
    return mask;
  }
}
