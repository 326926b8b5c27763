import { Gunzip, Inflate } from "fflate";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";

/** The most bytes that one decompressed or reordered array may hold. */
export const maxResidentBytes = 2 ** 31;

/** Above this size an array that was compressed more than `suspiciousRatio` times is taken for a bomb. */
const suspiciousBytes = 2 ** 26;
const suspiciousRatio = 200;

/** No deflate stream expands more: RFC 1951 codes at most 258 bytes in 2 bits. */
const largestRatio = 1032;

/** Input is fed in pieces of this many bytes, so that one piece gives 16 MiB at most before it is counted. */
const pieceBytes = 16_384;
const readBytes = 2 ** 20;

/** A byte source over memory. */
export function bytesSource(name: string, bytes: Uint8Array): ByteSource {
  return {
    name,
    size: bytes.byteLength,
    async read(offset, length) {
      checkRange(name, bytes.byteLength, offset, length);
      return bytes.subarray(offset, offset + length);
    },
  };
}

/** A range of a byte source as a source of its own. Throws `format` where it does not lie inside. */
export function partOf(source: ByteSource, name: string, start: number, size: number): ByteSource {
  checkRange(source.name, source.size, start, size);
  return {
    name,
    size,
    async read(offset, length) {
      checkRange(name, size, offset, length);
      return source.read(start + offset, length);
    },
  };
}

/** Throws `format` unless [offset, offset + length) lies inside `size` bytes. */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  if (offset >= 0 && length >= 0 && offset + length <= size) return;
  const message = `expected ${length} bytes at ${offset}, got a file of ${size} bytes.`;
  throw new EspalierError("format", name, message, "The file is cut off or damaged.");
}

/** What a container promises of a deflated stream. */
interface Deflated {
  readonly offset: number;
  readonly length: number;
  /** Bytes after decompression, as declared. */
  readonly size: number;
  readonly crc: number;
}

/** Refuses a declared size that no stream of this length can have, or only a bomb has. Throws `data` or `format`. */
export function checkExpansion(where: string, length: number, size: number): void {
  if (size > maxResidentBytes) {
    throw new EspalierError("data", where, `expected at most ${maxResidentBytes} bytes, got ${size} declared.`);
  }
  if (size > length * largestRatio) {
    throw new EspalierError("format", where, `expected at most ${length * largestRatio} bytes, got ${size} declared.`);
  }
  if (size > suspiciousBytes && size > length * suspiciousRatio) {
    const message = `expected compression of at most ${suspiciousRatio} to 1, got ${length} bytes that become ${size}.`;
    throw new EspalierError("data", where, message, "Store it uncompressed if this is intended.");
  }
}

/** Decompresses a raw deflate stream; size and checksum must be as declared. Throws `format` or `data`. */
export async function inflate(source: ByteSource, where: string, plan: Deflated): Promise<Uint8Array> {
  return expand(source, where, plan, (take) => new Inflate(take));
}

/** Decompresses a gzip file of one member. Throws `format` or `data`. */
export async function gunzip(source: ByteSource): Promise<Uint8Array> {
  if (source.size < 18) {
    throw new EspalierError("format", source.name, `expected a gzip file, got ${source.size} bytes.`);
  }
  const tail = await source.read(source.size - 8, 8);
  const view = new DataView(tail.buffer, tail.byteOffset, 8);
  const plan = { offset: 0, length: source.size, crc: view.getUint32(0, true), size: view.getUint32(4, true) };
  return expand(source, source.name, plan, (take) => new Gunzip(take));
}

interface Expander {
  push(chunk: Uint8Array, final?: boolean): void;
}

async function expand(
  source: ByteSource,
  where: string,
  { offset, length, size, crc }: Deflated,
  make: (take: (chunk: Uint8Array) => void) => Expander,
): Promise<Uint8Array> {
  checkExpansion(where, length, size);
  const out = new Uint8Array(size);
  let filled = 0;
  const expander = make((chunk) => {
    if (filled + chunk.length > size) {
      throw new EspalierError("format", where, `expected ${size} bytes as declared, got more.`);
    }
    out.set(chunk, filled);
    filled += chunk.length;
  });
  for (let at = 0; at < length; at += readBytes) {
    const bytes = await source.read(offset + at, Math.min(readBytes, length - at));
    for (let start = 0; start < bytes.length; start += pieceBytes) {
      const piece = bytes.subarray(start, start + pieceBytes);
      try {
        expander.push(piece, at + start + piece.length >= length);
      } catch (cause) {
        if (cause instanceof EspalierError) throw cause;
        const reason = cause instanceof Error ? cause.message : String(cause);
        throw new EspalierError("format", where, `expected a deflate stream, got damaged bytes (${reason}).`, "", {
          cause,
        });
      }
    }
  }
  if (filled !== size || crc32(out) !== crc) {
    const got = filled === size ? "another checksum" : `${filled}`;
    throw new EspalierError("format", where, `expected ${size} bytes as declared, got ${got}.`, "The file is damaged.");
  }
  return out;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, i) => {
  let c = i;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c;
});

/** The checksum of zip and gzip. */
function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crcTable[(crc ^ (bytes[i] ?? 0)) & 0xff] ?? 0) ^ (crc >>> 8);
  return (crc ^ 0xffffffff) >>> 0;
}
