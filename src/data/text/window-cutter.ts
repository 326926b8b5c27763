/** How a sequence of tokens is cut. */
export interface Cut {
  /** Tokens of a window. */
  readonly window: number;
  /** Tokens from the start of a window to the start of the next. */
  readonly stride: number;
  /** Put in front of every window; it takes a place of it. */
  readonly begin: number | null;
  /** Leaves out windows that are not full. */
  readonly whole: boolean;
  /** Only the first window of a sequence. */
  readonly first: boolean;
}

/**
 * Takes a window. Tokens from place `from` on have not been predicted by an earlier window; `length` are no filling.
 * What it is given is used again.
 */
export type TakeWindow = (tokens: Int32Array, from: number, length: number) => void;

/** Cuts sequences, which come in parts, into windows; in memory is what the next windows still need. */
export interface Cutter {
  /** Goes on with the sequence. */
  add(tokens: Int32Array): void;
  /** The sequence has come to its end; the next part begins another. */
  end(): void;
}

/** A cutter that fills short windows with `pad`. */
export function cutter({ window, stride, begin, whole, first }: Cut, pad: number, take: TakeWindow): Cutter {
  const lead = begin === null ? 0 : 1;
  const body = window - lead;
  const tokens = new Int32Array(window);
  let held = new Int32Array(0);
  /** Tokens of the sequence before `held`, the windows cut from it, and the tokens that were predicted. */
  let before = 0;
  let windows = 0;
  let predicted = 0;
  const emit = (start: number, end: number): void => {
    tokens.fill(pad);
    if (begin !== null) tokens[0] = begin;
    tokens.set(held.subarray(start - before, end - before), lead);
    // The first token of a window has nothing before it that could tell it, but for what begins the window.
    const from = Math.max(predicted, start + 1 - lead) - start + lead;
    const length = end - start + lead;
    windows++;
    predicted = end;
    if (from < length) take(tokens, from, length);
  };
  const cut = (ended: boolean): void => {
    const size = before + held.length;
    for (let start = windows * stride; !(first && windows > 0); start = windows * stride) {
      const end = Math.min(start + body, size);
      // What an earlier window has predicted to its end needs no other.
      if (start >= size || end <= predicted || (end < start + body && (!ended || whole))) break;
      emit(start, end);
    }
    const keep = Math.min(windows * stride, size) - before;
    held = first && windows > 0 ? held.slice(held.length) : held.slice(keep);
    before = size - held.length;
  };
  return {
    add(part) {
      const joined = new Int32Array(held.length + part.length);
      joined.set(held);
      joined.set(part, held.length);
      held = joined;
      cut(false);
    },
    end() {
      cut(true);
      held = new Int32Array(0);
      before = 0;
      windows = 0;
      predicted = 0;
    },
  };
}
