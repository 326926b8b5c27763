import type { OnnxModel } from "../../formats/onnx/model.ts";
import { writeOnnx } from "../../formats/onnx/write.ts";

/** Bytes of a model's file, and of the same compressed by gzip. Nothing is held: the file streams past. */
export async function fileSize(model: OnnxModel): Promise<{ readonly bytes: number; readonly gzipBytes: number }> {
  const gzip = new CompressionStream("gzip");
  const writer = gzip.writable.getWriter();
  let bytes = 0;
  const write = async (piece: Uint8Array): Promise<void> => {
    bytes += piece.length;
    const { buffer, byteOffset, length } = piece;
    // Streams take no shared memory.
    await writer.write(buffer instanceof ArrayBuffer ? new Uint8Array(buffer, byteOffset, length) : piece.slice());
  };
  const writing = async (): Promise<void> => {
    try {
      await writeOnnx(model, { write });
      await writer.close();
    } catch (cause) {
      await writer.abort(cause);
      throw cause;
    }
  };
  const [gzipBytes] = await Promise.all([lengthOf(gzip.readable), writing()]);
  return { bytes, gzipBytes };
}

async function lengthOf(stream: ReadableStream<Uint8Array>): Promise<number> {
  const reader = stream.getReader();
  let length = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) length += part.value.length;
  return length;
}
