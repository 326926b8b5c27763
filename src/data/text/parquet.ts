import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import type { Records } from "./documents.ts";

/** Bytes that the decoded rows of one read may have, as far as the file tells. */
const MOST = 1 << 28;

/**
 * The rows of a Parquet file: only these columns, one group of rows in memory at a time. The library that reads them is
 * loaded here. Throws `data` for a column that is not there, `format` for damaged files.
 */
export function parquet(source: ByteSource, columns?: readonly string[]): Records {
  return {
    description: source.name,
    async *read() {
      const [{ parquetMetadataAsync, parquetReadObjects, parquetSchema }, { compressors }] = await Promise.all([
        import("hyparquet"),
        import("hyparquet-compressors"),
      ]);
      const file = {
        byteLength: source.size,
        slice: async (start: number, end = source.size): Promise<ArrayBuffer> => {
          const from = start < 0 ? Math.max(0, source.size + start) : start;
          const bytes = await source.read(from, Math.min(end, source.size) - from);
          return new Uint8Array(bytes).buffer;
        },
      };
      const metadata = await damaged(source, parquetMetadataAsync(file));
      const known = parquetSchema(metadata).children.map(({ element }) => element.name);
      for (const column of columns ?? []) if (!known.includes(column)) throw unknownColumn(source, column, known);
      let start = 0;
      for (const group of metadata.row_groups) {
        const rows = Number(group.num_rows);
        const wanted = group.columns.filter(
          ({ meta_data: meta }) => columns?.includes(meta?.path_in_schema[0] ?? "") ?? true,
        );
        const bytes = wanted.reduce((sum, { meta_data: meta }) => sum + Number(meta?.total_uncompressed_size ?? 0), 0);
        // Groups of rows are often large: as many rows are read at a time as bounded memory allows.
        const step = Math.max(1, Math.min(rows, Math.floor((rows * MOST) / Math.max(1, bytes))));
        for (let at = 0; at < rows; at += step) {
          const part = { rowStart: start + at, rowEnd: start + Math.min(rows, at + step) };
          const picked = columns === undefined ? {} : { columns: [...columns] };
          const read = parquetReadObjects({ file, metadata, compressors, rowFormat: "object", ...picked, ...part });
          yield* await damaged(source, read);
        }
        start += rows;
      }
    },
  };
}

/** What the library gives; its errors as ours. */
async function damaged<T>(source: ByteSource, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    if (cause instanceof EspalierError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new EspalierError("format", source.name, `expected a Parquet file, got: ${why}.`, "Fetch it again.", {
      cause,
    });
  }
}

function unknownColumn(source: ByteSource, column: string, known: readonly string[]): EspalierError {
  const message = `expected one of the columns ${known.slice(0, 8).join(", ")}, got "${column}".`;
  return new EspalierError("data", source.name, message, "Name the column that holds the text.");
}
