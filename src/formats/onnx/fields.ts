import { EspalierError } from "../../tensor/error.ts";
import { type Span, Spans } from "./spans.ts";

/** Protobuf wire types that ONNX uses; groups are not among them. */
export const wire = { varint: 0, bit64: 1, bytes: 2, bit32: 5 } as const;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Text of UTF-8 bytes, or undefined where they are none. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    return undefined;
  }
}

/**
 * Walks the fields of one message. After `next()`, `field` and `wire` say what it is, and the payload is
 * `from` to `to`, or `low` and `high` for a varint. Every length is checked against its message before use.
 */
export class Fields {
  readonly spans: Spans;
  readonly end: number;
  field = 0;
  wire = 0;
  /** Where the field's tag begins. */
  tagAt = 0;
  from = 0;
  to = 0;
  low = 0;
  high = 0;
  #at: number;
  #buffer: Uint8Array = new Uint8Array(0);
  #base = 0;
  #limit = 0;

  constructor(spans: Spans, from: number, end: number) {
    this.spans = spans;
    this.#at = from;
    this.from = from;
    this.end = end;
  }

  /** The fields of a message that is in memory as a whole. */
  static of(name: string, bytes: Uint8Array): Fields {
    return new Fields(new Spans(name, [{ start: 0, bytes }]), 0, bytes.length);
  }

  /** Moves to the next field; false at the end of the message. */
  next(): boolean {
    if (this.#at >= this.end) return false;
    this.tagAt = this.#at;
    this.#varint();
    this.field = (this.low >>> 3) + this.high * 2 ** 29;
    this.wire = this.low & 7;
    if (this.field === 0 || this.field >= 2 ** 29) this.#fail("a field number from 1 to 536870911", String(this.field));
    this.from = this.#at;
    if (this.wire === wire.varint) {
      this.#varint();
      this.to = this.#at;
      return true;
    }
    let length = 8;
    if (this.wire === wire.bit32) length = 4;
    else if (this.wire === wire.bytes) {
      this.#varint();
      length = this.low + this.high * 2 ** 32;
      this.from = this.#at;
    } else if (this.wire !== wire.bit64) this.#fail("wire type 0, 1, 2 or 5", String(this.wire));
    this.to = this.from + length;
    if (this.to > this.end) this.#fail(`a field that ends before byte ${this.end}`, `a length of ${length}`);
    this.#at = this.to;
    return true;
  }

  /** The field's payload as a message of its own. */
  message(): Fields {
    this.#expect(wire.bytes);
    return new Fields(this.spans, this.from, this.to);
  }

  /** The payload, not copied. */
  bytes(): Uint8Array {
    this.#expect(wire.bytes);
    return this.spans.view(this.from, this.to);
  }

  /** Tag and payload, copied: a field that espalier carries and does not look into. */
  raw(): Uint8Array {
    return this.spans.view(this.tagAt, this.to).slice();
  }

  string(): string {
    const text = textOf(this.bytes());
    return text ?? this.#fail("UTF-8 text", "other bytes");
  }

  /** A varint as a signed 64-bit number. */
  int64(): bigint {
    this.#expect(wire.varint);
    return (BigInt(this.high | 0) << 32n) | BigInt(this.low);
  }

  /** A varint that counts or numbers something: an integer that a double holds exactly. */
  integer(): number {
    this.#expect(wire.varint);
    const value = (this.high | 0) * 2 ** 32 + this.low;
    return Number.isSafeInteger(value) ? value : this.#fail("an integer below 2^53", String(value));
  }

  float(): number {
    this.#expect(wire.bit32);
    return this.floats()[0] ?? 0;
  }

  /** The floats of a repeated field, packed or not. */
  floats(): number[] {
    if (this.wire !== wire.bit32) this.#expect(wire.bytes);
    const bytes = this.spans.view(this.from, this.to);
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const values: number[] = [];
    for (let at = 0; at + 4 <= bytes.length; at += 4) values.push(view.getFloat32(at, true));
    return values;
  }

  /** Calls `each` with every varint of a repeated field, packed or not; `low` and `high` hold it. */
  varints(each: () => void): void {
    if (this.wire === wire.varint) {
      each();
      return;
    }
    const packed = this.message();
    while (packed.#at < packed.end) {
      packed.#varint();
      this.low = packed.low;
      this.high = packed.high;
      each();
    }
  }

  #expect(type: number): void {
    if (this.wire !== type) this.#fail(`wire type ${type} for field ${this.field}`, String(this.wire));
  }

  #varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = this.#byte();
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >> 4;
      } else if (shift < 63) high |= bits << (shift - 32);
      else high |= (bits & 1) << 31;
      if (byte < 0x80) {
        this.low = low >>> 0;
        this.high = high >>> 0;
        return;
      }
    }
    this.#fail("a number of at most ten bytes", "a longer one");
  }

  #byte(): number {
    const at = this.#at;
    if (at >= this.end) this.#fail(`a field that ends before byte ${this.end}`, "a cut one");
    if (at < this.#base || at >= this.#limit) this.#load(this.spans.spanAt(at));
    this.#at = at + 1;
    return this.#buffer[at - this.#base] ?? 0;
  }

  #load(span: Span): void {
    if (span.bytes.length === 0) this.#fail("loaded bytes", "a weight in the file");
    this.#buffer = span.bytes;
    this.#base = span.start;
    this.#limit = span.start + span.bytes.length;
  }

  #fail(expected: string, got: string): never {
    throw new EspalierError(
      "format",
      `${this.spans.name}, byte ${this.tagAt}`,
      `expected ${expected}, got ${got}.`,
      "The file is damaged or is not an ONNX model.",
    );
  }
}
