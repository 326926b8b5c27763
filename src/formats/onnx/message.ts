import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { TensorRef } from "../../tensor/tensor.ts";
import { bytesOf } from "../../tensor/tensor.ts";
import { wire } from "./fields.ts";

/** A stretch of a file to be written: bytes, or the stored bytes of a tensor, which are read when their turn comes. */
export type Piece = Uint8Array | TensorRef;

/** Larger byte fields become pieces of their own instead of being copied from message to message. */
const copiedPiece = 4096;

/** Bytes of a piece. */
export function pieceLength(piece: Piece): number {
  return piece instanceof Uint8Array ? piece.length : bytesOf(piece);
}

/** Writers of finished messages, whose buffers the next messages use: a graph is made of tens of thousands. */
const idle: BinaryWriter[] = [];
const mostIdle = 8;
/** A writer that held more than this is not kept, for its buffer is as large. */
const idleLength = 64 * 1024;

/** One protobuf message under construction. Lengths come from the pieces' sizes; no weight is loaded for them. */
export class Message {
  #writer: BinaryWriter | undefined;
  readonly #done: Piece[] = [];
  #length = 0;

  /** The message so far, in order. */
  pieces(): readonly Piece[] {
    this.#flush();
    return this.#done;
  }

  get length(): number {
    this.#flush();
    return this.#length;
  }

  int(field: number, value: number | bigint): this {
    this.#out.tag(field, wire.varint).int64(value);
    return this;
  }

  float(field: number, value: number): this {
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setFloat32(0, value, true);
    this.#out.tag(field, wire.bit32).raw(bytes);
    return this;
  }

  string(field: number, value: string): this {
    this.#out.tag(field, wire.bytes).string(value);
    return this;
  }

  bytes(field: number, value: Uint8Array): this {
    this.#out.tag(field, wire.bytes).uint64(value.length);
    return this.#append(value);
  }

  message(field: number, value: Message): this {
    this.#out.tag(field, wire.bytes).uint64(value.length);
    for (const piece of value.pieces()) this.#append(piece);
    value.#giveBack();
    return this;
  }

  /** The stored bytes of a tensor as a field. */
  tensor(field: number, value: TensorRef): this {
    if (value.resident !== undefined) return this.bytes(field, value.resident);
    this.#out.tag(field, wire.bytes).uint64(bytesOf(value));
    return this.#append(value);
  }

  /** Whole fields, tags included. */
  raw(fields: readonly Uint8Array[] | undefined): this {
    for (const field of fields ?? []) this.#append(field);
    return this;
  }

  #append(piece: Piece): this {
    if (piece instanceof Uint8Array && piece.length <= copiedPiece) this.#out.raw(piece);
    else {
      this.#flush();
      this.#done.push(piece);
      this.#length += pieceLength(piece);
    }
    return this;
  }

  get #out(): BinaryWriter {
    this.#writer ??= idle.pop() ?? new BinaryWriter();
    return this.#writer;
  }

  /** After a flush, the writer is empty and another message may have it. */
  #giveBack(): void {
    if (this.#writer !== undefined && this.#length <= idleLength && idle.length < mostIdle) idle.push(this.#writer);
    this.#writer = undefined;
  }

  #flush(): void {
    const bytes = this.#writer?.finish();
    if (bytes === undefined || bytes.length === 0) return;
    this.#done.push(bytes);
    this.#length += bytes.length;
  }
}
