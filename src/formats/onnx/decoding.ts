import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { quoted } from "./label.ts";

/** Opens the external data file that a model names, or throws where it must not be read. */
export type Sibling = (location: string) => Promise<ByteSource>;

/**
 * More parts than any model has; the limit keeps a hostile file, in which a node can take two bytes, from filling the
 * memory. A part is about a name; a node weighs as much as 16 of them.
 */
const mostParts = 8_000_000;

/** Zeros of sparse tensors that may be written out, in bytes of the whole model. */
const mostDense = 256 * 1024 * 1024;

/** What the decoders of one file share. */
export class Decoding {
  readonly source: ByteSource;
  readonly sibling: Sibling | undefined;
  readonly #later: (() => Promise<void>)[] = [];
  readonly #siblings = new Map<string, { readonly source: ByteSource; allowance: number }>();
  #parts = 0;
  #dense = 0;

  constructor(source: ByteSource, sibling: Sibling | undefined) {
    this.source = source;
    this.sibling = sibling;
  }

  /** Counts what takes memory by its weight in names. */
  count(parts = 1): void {
    this.#parts += parts;
    if (this.#parts > mostParts) {
      throw new EspalierError("format", this.source.name, `expected at most ${mostParts} parts, got more.`);
    }
  }

  /** Reserves memory for a sparse tensor that becomes dense. */
  densify(where: string, bytes: number): void {
    this.#dense += bytes;
    if (this.#dense <= mostDense) return;
    throw new EspalierError(
      "model",
      where,
      `expected sparse tensors of at most ${mostDense} bytes when dense, got more.`,
      "Export the model with dense weights.",
    );
  }

  /** Leaves a read for after the synchronous pass. */
  later(action: () => Promise<void>): void {
    this.#later.push(action);
  }

  async settle(): Promise<void> {
    for (const action of this.#later) await action();
    this.#later.length = 0;
  }

  async open(where: string, location: string): Promise<ByteSource> {
    const known = this.#siblings.get(location);
    if (known !== undefined) return known.source;
    if (this.sibling === undefined) {
      throw new EspalierError(
        "file",
        where,
        `expected its data file ${quoted(location)}, got the model file alone.`,
        "Open the model from its folder, or give the data files too.",
      );
    }
    const source = await this.sibling(location);
    this.#siblings.set(location, { source, allowance: source.size });
    return source;
  }

  /** True while the tensors read from a data file are no larger than the file: overlapping ones stay where they are. */
  mayLoad(location: string, length: number): boolean {
    const known = this.#siblings.get(location);
    if (known === undefined || known.allowance < length) return false;
    known.allowance -= length;
    return true;
  }
}
