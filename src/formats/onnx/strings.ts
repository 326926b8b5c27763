import { EspalierError } from "../../tensor/error.ts";
import { textOf } from "./fields.ts";

/** The resident form of a string tensor: each element as a 32-bit little-endian length and its UTF-8 bytes. */
export function packStrings(elements: readonly (string | Uint8Array)[]): Uint8Array {
  const encoder = new TextEncoder();
  const encoded = elements.map((element) => (typeof element === "string" ? encoder.encode(element) : element));
  const packed = new Uint8Array(encoded.reduce((sum, bytes) => sum + 4 + bytes.length, 0));
  const view = new DataView(packed.buffer);
  let at = 0;
  for (const bytes of encoded) {
    view.setUint32(at, bytes.length, true);
    packed.set(bytes, at + 4);
    at += 4 + bytes.length;
  }
  return packed;
}

/** The elements of a string tensor, as the bytes that ONNX stores. Throws `format` where the lengths do not fit. */
export function splitStrings(packed: Uint8Array): Uint8Array[] {
  const view = new DataView(packed.buffer, packed.byteOffset, packed.byteLength);
  const elements: Uint8Array[] = [];
  for (let at = 0; at < packed.length; ) {
    const end = at + 4 <= packed.length ? at + 4 + view.getUint32(at, true) : Number.POSITIVE_INFINITY;
    if (end > packed.length) {
      throw new EspalierError("format", "string tensor", "expected lengths within its bytes, got a longer one.");
    }
    elements.push(packed.subarray(at + 4, end));
    at = end;
  }
  return elements;
}

/** The elements of a string tensor as text. Throws `format` where an element is not UTF-8. */
export function unpackStrings(packed: Uint8Array): string[] {
  return splitStrings(packed).map((bytes) => {
    const text = textOf(bytes);
    if (text === undefined) throw new EspalierError("format", "string tensor", "expected UTF-8 text, got other bytes.");
    return text;
  });
}
