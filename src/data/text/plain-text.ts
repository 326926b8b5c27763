import type { ByteSource } from "../../tensor/tensor.ts";
import type { Documents } from "./documents.ts";
import { pieces } from "./read-text.ts";

/** The documents of a plain text: one, or those between lines of `separator`, without the space around them. */
export function plainText(source: ByteSource, separator?: string): Documents {
  return {
    description: source.name,
    async *read() {
      for await (const piece of pieces(source, separator ?? null)) {
        const text = separator === undefined ? piece.replace(/^\uFEFF/, "") : piece.trim();
        if (text !== "") yield text;
      }
    },
  };
}
