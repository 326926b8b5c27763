import { load } from "../../tensor/tensor.ts";
import { encodeOnnx, type Place } from "./encode.ts";
import { type Piece, pieceLength } from "./message.ts";
import type { OnnxModel } from "./model.ts";

/** Takes the bytes of a file in order: a file, a stream of a browser, a list in memory. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>;
}

/** Bytes held at once while weights go from one file to another. */
const chunkLength = 4 * 1024 * 1024;

/** Writes a model to a sink. Weights in files pass through in chunks of 4 MiB. */
export async function writeOnnx(model: OnnxModel, sink: Sink, place?: Place): Promise<void> {
  await writePieces(encodeOnnx(model, place), sink);
}

/** Writes pieces one after the other; small ones are gathered first. */
export async function writePieces(pieces: readonly Piece[], sink: Sink): Promise<void> {
  let gathered: Uint8Array[] = [];
  let length = 0;
  const flush = async () => {
    if (length > 0) await sink.write(joined(gathered, length));
    gathered = [];
    length = 0;
  };
  for (const piece of pieces) {
    if (piece instanceof Uint8Array && piece.length + length <= chunkLength) {
      gathered.push(piece);
      length += piece.length;
      continue;
    }
    await flush();
    for await (const chunk of chunksOf(piece)) await sink.write(chunk);
  }
  await flush();
}

/** The bytes of a model file in memory. Meant for models that fit there. */
export async function encodeToBytes(model: OnnxModel, place?: Place): Promise<Uint8Array> {
  const pieces = encodeOnnx(model, place);
  const bytes = new Uint8Array(pieces.reduce((sum, piece) => sum + pieceLength(piece), 0));
  let at = 0;
  for (const piece of pieces) {
    const part = piece instanceof Uint8Array ? piece : (await load(piece)).bytes;
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

async function* chunksOf(piece: Piece): AsyncGenerator<Uint8Array> {
  const bytes =
    piece instanceof Uint8Array ? piece : piece.made === undefined ? piece.resident : (await load(piece)).bytes;
  const length = pieceLength(piece);
  for (let at = 0; at < length; at += chunkLength) {
    const size = Math.min(chunkLength, length - at);
    if (bytes !== undefined) yield bytes.subarray(at, at + size);
    else if (!(piece instanceof Uint8Array) && piece.at !== undefined) {
      yield await piece.at.source.read(piece.at.offset + at, size);
    }
  }
}

function joined(parts: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = parts;
  if (only !== undefined && parts.length === 1) return only;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
