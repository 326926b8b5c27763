import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { checkExpansion, inflate, maxResidentBytes, partOf } from "./bytes.ts";

/** One file in an archive. Names are only labels: nothing is ever written under them. */
export interface ZipEntry {
  readonly name: string;
  readonly deflated: boolean;
  readonly compressed: number;
  readonly size: number;
  readonly crc: number;
  /** Where its local header starts. */
  readonly header: number;
}

const maxEntries = 65_536;
const maxDirectoryBytes = 2 ** 24;

/** The directory of a zip or zip64 archive. Throws `format`, and `data` where the sizes are those of a bomb. */
export async function readZipDirectory(source: ByteSource): Promise<readonly ZipEntry[]> {
  const { count, size, offset } = await findDirectory(source);
  if (count > maxEntries || size > maxDirectoryBytes || count * 46 > size) {
    throw bad(source, `a directory of at most ${maxEntries} entries`, `${count} in ${size} bytes`);
  }
  const bytes = await source.read(offset, size);
  const view = viewOf(bytes);
  const entries: ZipEntry[] = [];
  const names = new Set<string>();
  let expanded = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    if (at + 46 > size || view.getUint32(at, true) !== 0x02014b50)
      throw bad(source, `directory entry ${i}`, "other bytes");
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const end = extraEnd + view.getUint16(at + 32, true);
    if (end > size) throw bad(source, `directory entry ${i} inside the directory`, "a longer one");
    const name = new TextDecoder().decode(bytes.subarray(at + 46, nameEnd));
    const method = view.getUint16(at + 10, true);
    const encrypted = (view.getUint16(at + 8, true) & 1) !== 0;
    if (encrypted || (method !== 0 && method !== 8)) {
      const got = encrypted ? "an encrypted one" : `method ${method}`;
      throw bad(source, `entry "${name}" stored or deflated`, got);
    }
    if (names.has(name)) throw bad(source, "different names", `"${name}" twice`);
    names.add(name);
    const entry = withWideSizes(view, nameEnd, extraEnd, {
      name,
      deflated: method === 8,
      crc: view.getUint32(at + 16, true),
      compressed: view.getUint32(at + 20, true),
      size: view.getUint32(at + 24, true),
      header: view.getUint32(at + 42, true),
    });
    if (entry.header + 30 + entry.compressed > source.size) {
      throw bad(source, `entry "${name}" inside the file`, `${entry.compressed} bytes at ${entry.header}`);
    }
    if (!entry.deflated && entry.size !== entry.compressed) {
      throw bad(source, `equal sizes for the stored entry "${name}"`, `${entry.compressed} and ${entry.size}`);
    }
    if (entry.deflated) {
      checkExpansion(`${source.name}: ${name}`, entry.compressed, entry.size);
      expanded += entry.size;
    }
    entries.push(entry);
    at = end;
  }
  if (expanded > maxResidentBytes) {
    const message = `expected at most ${maxResidentBytes} bytes after decompression, got ${expanded}.`;
    throw new EspalierError("data", source.name, message, "Save it uncompressed, so that it can be streamed.");
  }
  return entries;
}

/** The content of an entry: a range of the archive where it is stored, memory where it was deflated. Throws `format`. */
export async function openZipEntry(source: ByteSource, entry: ZipEntry): Promise<ByteSource | Uint8Array> {
  const where = `${source.name}: ${entry.name}`;
  const local = viewOf(await source.read(entry.header, 30));
  if (local.getUint32(0, true) !== 0x04034b50) throw bad(source, `the header of entry "${entry.name}"`, "other bytes");
  const start = entry.header + 30 + local.getUint16(26, true) + local.getUint16(28, true);
  if (!entry.deflated) return partOf(source, where, start, entry.size);
  return inflate(source, where, { offset: start, length: entry.compressed, size: entry.size, crc: entry.crc });
}

interface Directory {
  readonly count: number;
  readonly size: number;
  readonly offset: number;
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const length = Math.min(source.size, 22 + 65_535);
  const base = source.size - length;
  const tail = viewOf(await source.read(base, length));
  let at = length - 22;
  while (at >= 0 && tail.getUint32(at, true) !== 0x06054b50) at--;
  if (at < 0) throw bad(source, "a zip archive", "no directory at its end", "The file is cut off or of another kind.");
  const plain = {
    count: tail.getUint16(at + 10, true),
    size: tail.getUint32(at + 12, true),
    offset: tail.getUint32(at + 16, true),
  };
  const wide = plain.count === 0xffff || plain.size === 0xffffffff || plain.offset === 0xffffffff;
  if (!wide || at < 20 || tail.getUint32(at - 20, true) !== 0x07064b50) return plain;
  const record = viewOf(await source.read(safe(source, tail.getBigUint64(at - 12, true)), 56));
  if (record.getUint32(0, true) !== 0x06064b50) throw bad(source, "a zip64 directory record", "other bytes");
  return {
    count: safe(source, record.getBigUint64(32, true)),
    size: safe(source, record.getBigUint64(40, true)),
    offset: safe(source, record.getBigUint64(48, true)),
  };
}

/** Replaces the fields that are full by those of the zip64 extra field, which holds them in this order. */
function withWideSizes(view: DataView, start: number, end: number, entry: ZipEntry): ZipEntry {
  for (let at = start; at + 4 <= end; ) {
    const id = view.getUint16(at, true);
    const stop = Math.min(end, at + 4 + view.getUint16(at + 2, true));
    let field = at + 4;
    const wide = (value: number): number => {
      if (value !== 0xffffffff || field + 8 > stop) return value;
      field += 8;
      return Number(view.getBigUint64(field - 8, true));
    };
    if (id === 1) {
      const size = wide(entry.size);
      const compressed = wide(entry.compressed);
      return { ...entry, size, compressed, header: wide(entry.header) };
    }
    at = stop;
  }
  return entry;
}

function safe(source: ByteSource, value: bigint): number {
  if (value <= BigInt(source.size)) return Number(value);
  throw bad(source, `a position inside ${source.size} bytes`, String(value));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function bad(source: ByteSource, expected: string, got: string, hint = ""): EspalierError {
  return new EspalierError("format", source.name, `expected ${expected}, got ${got}.`, hint);
}
