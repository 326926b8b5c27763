import { EspalierError } from "../../tensor/error.ts";

/** A run of loaded bytes that begins at `start` of the file. */
export interface Span {
  readonly start: number;
  readonly bytes: Uint8Array;
}

const nothing: Span = { start: 0, bytes: new Uint8Array(0) };

/** The loaded parts of a file, addressed by positions in the file. Between them lie weights that stay in the file. */
export class Spans {
  readonly name: string;
  readonly #spans: readonly Span[];

  /** `spans` ascend and do not touch. */
  constructor(name: string, spans: readonly Span[]) {
    this.name = name;
    this.#spans = spans;
  }

  /** The run that holds `position`, or an empty one. */
  spanAt(position: number): Span {
    let low = 0;
    let high = this.#spans.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#spans[middle]?.start ?? 0) <= position) low = middle + 1;
      else high = middle;
    }
    const span = this.#spans[low - 1];
    return span !== undefined && position < span.start + span.bytes.length ? span : nothing;
  }

  /** True when all of `from` to `to` is loaded. */
  has(from: number, to: number): boolean {
    const { start, bytes } = this.spanAt(from);
    return from === to || (from >= start && to <= start + bytes.length);
  }

  /** The loaded bytes from `from` to `to`, not copied. */
  view(from: number, to: number): Uint8Array {
    if (from === to) return nothing.bytes;
    const { start, bytes } = this.spanAt(from);
    if (from < start || to > start + bytes.length) {
      throw new EspalierError("format", this.name, `expected a field without weights at byte ${from}, got a tensor.`);
    }
    return bytes.subarray(from - start, to - start);
  }
}
