import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { checkRange, memorySource } from "./source.ts";

/**
 * A file behind a URL, read by byte ranges. A server that ignores ranges is asked once for the whole file.
 * Throws `file` where the server refuses, answers another range than asked, or the file changes while it is read.
 */
export async function httpSource(url: string): Promise<ByteSource> {
  const first = await request(url, { Range: "bytes=0-0" });
  if (first.status === 416 && first.headers.get("content-range")?.trim() === "bytes */0") {
    await first.body?.cancel();
    return memorySource(url, new Uint8Array(0));
  }
  if (first.status === 200) return memorySource(url, await body(url, first));
  const range = contentRange(url, first);
  await first.body?.cancel();
  const { size } = range;
  const tag = first.headers.get("etag");
  return {
    name: url,
    size,
    async read(offset, length) {
      checkRange(url, size, offset, length);
      if (length === 0) return new Uint8Array(0);
      const response = await request(url, { Range: `bytes=${offset}-${offset + length - 1}` });
      const got = contentRange(url, response);
      if (got.size !== size || response.headers.get("etag") !== tag) {
        await response.body?.cancel();
        throw new EspalierError("file", url, "expected the file that was opened, got a changed one.", "Start again.");
      }
      const bytes = got.start === offset ? await body(url, response, length) : new Uint8Array(0);
      if (bytes.byteLength !== length) {
        throw new EspalierError("file", url, `expected ${length} bytes at ${offset}, got ${bytes.byteLength}.`);
      }
      return bytes;
    },
  };
}

async function request(url: string, headers: Record<string, string>): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(url, { headers });
  } catch (cause) {
    throw new EspalierError("file", url, "expected an answer, got none.", "Check the address and the network.", {
      cause,
    });
  }
  if (!response.ok && response.status !== 416) {
    await response.body?.cancel();
    throw new EspalierError("file", url, `expected the file, got HTTP ${response.status}.`, "Check the address.");
  }
  return response;
}

function contentRange(url: string, response: Response): { start: number; size: number } {
  const header = response.headers.get("content-range") ?? "";
  const match = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/.exec(header.trim());
  if (response.status !== 206 || match === null) {
    throw new EspalierError(
      "file",
      url,
      `expected HTTP 206 with a content-range, got ${response.status} with "${header}".`,
      "Download the file and open it from disk.",
    );
  }
  return { start: Number(match[1]), size: Number(match[3]) };
}

/** The whole body, never more than `limit` bytes of it. */
async function body(url: string, response: Response, limit = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    const reader = response.body?.getReader();
    for (let step = await reader?.read(); step !== undefined && !step.done; step = await reader?.read()) {
      length += step.value.byteLength;
      chunks.push(step.value);
      if (length > limit) {
        await reader?.cancel();
        break;
      }
    }
  } catch (cause) {
    throw new EspalierError("file", url, "expected the whole answer, got a broken connection.", "Try again.", {
      cause,
    });
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}
