import { dtypeOfOnnx } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { isDiscrete } from "./dtypes.ts";
import { type Span, Spans } from "./spans.ts";

/** Tensors up to this many bytes are read with the graph. */
export const smallTensor = 16 * 1024;
/** Shapes, indices and tables, which the graph is computed with, are read up to this size. */
export const discreteTensor = 1024 * 1024;

type Kind = "model" | "graph" | "node" | "attribute" | "function" | "tensor";

/** The messages, by field number, in which large tensors are looked for. */
const inside: Record<Kind, Readonly<Record<number, Kind>>> = {
  model: { 7: "graph", 25: "function" },
  graph: { 1: "node", 5: "tensor" },
  node: { 5: "attribute" },
  attribute: { 5: "tensor", 6: "graph" },
  function: { 7: "node" },
  tensor: {},
};

/** Fields of a tensor that hold its elements as they lie in memory: float_data, raw_data, double_data. */
const elements: ReadonlySet<number> = new Set([4, 9, 10]);

const deepest = 100;
const smallestWindow = 4 * 1024;
const largestWindow = 1024 * 1024;

/** Loads all of an ONNX file but its large weights, which it steps over without reading them. */
export async function scan(source: ByteSource): Promise<Spans> {
  const scanner = new Scanner(source);
  await scanner.message("model", 0, source.size, 0);
  return new Spans(source.name, await scanner.loadBetweenHoles());
}

class Scanner {
  readonly #source: ByteSource;
  readonly #windows: Span[] = [];
  readonly #holes: { readonly from: number; readonly to: number }[] = [];
  #window: Span = { start: 0, bytes: new Uint8Array(0) };
  #step = smallestWindow;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  async message(kind: Kind, from: number, end: number, depth: number): Promise<void> {
    if (depth > deepest) throw new EspalierError("format", this.#source.name, "expected less nesting, got over 100.");
    let dtype = 0;
    const large: { from: number; to: number }[] = [];
    for (let at = from; at < end; ) {
      // A tag and a length or a number take at most 10 bytes each.
      if (!this.#covers(at, Math.min(at + 20, end))) await this.#read(at);
      const tag = this.#varint(at, end);
      const value = tag.type === 0 || tag.type === 2 ? this.#varint(tag.end, end) : tag;
      if (tag.type !== 2) {
        if (kind === "tensor" && tag.field === 2) dtype = value.value;
        at = tag.type === 0 ? value.end : tag.end + (tag.type === 5 ? 4 : 8);
        continue;
      }
      const to = value.end + value.value;
      if (to > end) {
        throw new EspalierError(
          "format",
          `${this.#source.name}, byte ${at}`,
          `expected a field that ends before byte ${end}, got a length of ${value.value}.`,
          "The file is cut short, damaged or not an ONNX model.",
        );
      }
      const child = inside[kind][tag.field];
      if (value.value > smallTensor) {
        if (child !== undefined) await this.message(child, value.end, to, depth + 1);
        else if (kind === "tensor" && elements.has(tag.field)) large.push({ from: value.end, to });
      }
      at = to;
    }
    const known = dtypeOfOnnx(dtype);
    for (const hole of large) {
      const loaded = known !== undefined && isDiscrete(known) && hole.to - hole.from <= discreteTensor;
      if (!loaded) this.#holes.push(hole);
    }
  }

  async loadBetweenHoles(): Promise<Span[]> {
    const spans: Span[] = [];
    let start = 0;
    for (const hole of [...this.#holes, { from: this.#source.size, to: this.#source.size }]) {
      if (hole.from > start) spans.push({ start, bytes: await this.#assemble(start, hole.from) });
      start = hole.to;
    }
    return spans;
  }

  /** The bytes from `start` to `end`, taken from the windows where these have them. */
  async #assemble(start: number, end: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(end - start);
    let at = start;
    while (at < end) {
      let next = this.#windows[0];
      while (next !== undefined && next.start + next.bytes.length <= at) {
        this.#windows.shift();
        next = this.#windows[0];
      }
      if (next !== undefined && next.start <= at) {
        const part = next.bytes.subarray(at - next.start, Math.min(next.bytes.length, end - next.start));
        bytes.set(part, at - start);
        at += part.length;
      } else {
        const to = Math.min(end, next?.start ?? end, at + 64 * largestWindow);
        bytes.set(await this.#source.read(at, to - at), at - start);
        at = to;
      }
    }
    return bytes;
  }

  #covers(from: number, to: number): boolean {
    return from >= this.#window.start && to <= this.#window.start + this.#window.bytes.length;
  }

  /** Reads a window that holds `at`: small after a step over weights, larger while the graph goes on. */
  async #read(at: number): Promise<void> {
    const end = this.#window.start + this.#window.bytes.length;
    const follows = at <= end + smallTensor;
    const start = follows && at > end ? end : at;
    this.#step = follows ? Math.min(this.#step * 2, largestWindow) : smallestWindow;
    const length = Math.min(at - start + this.#step, this.#source.size - start);
    this.#window = { start, bytes: await this.#source.read(start, length) };
    this.#windows.push(this.#window);
  }

  /** A varint as a number; lengths and tags above 2^53 are wrong anyway, and are seen to be when they are used. */
  #varint(at: number, end: number): { value: number; end: number; field: number; type: number } {
    let value = 0;
    let scale = 1;
    for (let i = at; i < end && i < at + 10; i++) {
      const byte = this.#window.bytes[i - this.#window.start] ?? 0;
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) return { value, end: i + 1, field: Math.floor(value / 8), type: value % 8 };
    }
    throw new EspalierError(
      "format",
      `${this.#source.name}, byte ${at}`,
      "expected a field, got other bytes.",
      "The file is cut short, damaged or not an ONNX model.",
    );
  }
}
