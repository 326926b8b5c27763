import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";

/** Throws `format` where `length` bytes at `offset` are not all inside a source of `size` bytes. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const whole = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (!whole || offset + length > size) {
    throw new EspalierError(
      "format",
      name,
      `expected ${length} bytes at ${offset}, got the end at ${size}.`,
      "The file is cut short or its lengths are wrong; fetch or export it again.",
    );
  }
}

/** Bytes in memory. Reads start at a multiple of 8 in their buffer, so that any typed array fits over them. */
export function memorySource(name: string, bytes: Uint8Array): ByteSource {
  // A Buffer of Node is a Uint8Array whose slice() does not copy.
  const plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return {
    name,
    size: plain.byteLength,
    async read(offset, length) {
      checkRange(name, plain.byteLength, offset, length);
      const view = plain.subarray(offset, offset + length);
      return view.byteOffset % 8 === 0 ? view : view.slice();
    },
  };
}

/** A Blob or a File that the user picked in a browser; its bytes are read when asked for. */
export function blobSource(blob: Blob, name: string): ByteSource {
  return {
    name,
    size: blob.size,
    async read(offset, length) {
      checkRange(name, blob.size, offset, length);
      try {
        return new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      } catch (cause) {
        throw new EspalierError("file", name, "expected a readable file, got a refusal.", "Choose the file again.", {
          cause,
        });
      }
    },
  };
}
