import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";

/** Bytes that are read at a time. */
const CHUNK = 1 << 20;
/** Characters that one piece may have. */
const MOST = 1 << 28;

/**
 * Pieces of a UTF-8 text between occurrences of `separator`, read a chunk at a time: in memory is one piece. Without a
 * separator the whole is one piece. The last is left out where it is empty. Throws `data` where the bytes are no UTF-8 or a
 * piece is too long to be held.
 */
export async function* pieces(source: ByteSource, separator: string | null): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let held = "";
  for (let at = 0; at < source.size; at += CHUNK) {
    const bytes = await source.read(at, Math.min(CHUNK, source.size - at));
    const from = held.length;
    try {
      held += decoder.decode(bytes, { stream: at + CHUNK < source.size });
    } catch (cause) {
      const message = `expected UTF-8, got other bytes between ${at} and ${at + bytes.length}.`;
      throw new EspalierError("data", source.name, message, "Convert the text to UTF-8.", { cause });
    }
    if (separator !== null) {
      // A separator may lie across the border of two chunks.
      let start = 0;
      let search = Math.max(0, from - separator.length + 1);
      for (let end = held.indexOf(separator, search); end >= 0; end = held.indexOf(separator, search)) {
        yield held.slice(start, end);
        start = end + separator.length;
        search = start;
      }
      held = held.slice(start);
    }
    if (held.length > MOST) {
      const message = `expected pieces of at most ${MOST} characters, got a longer one.`;
      throw new EspalierError("data", source.name, message, "Name the text that separates documents.");
    }
  }
  if (held !== "") yield held;
}
