import { EspalierError } from "../../tensor/error.ts";
import { toFloat64 } from "../../tensor/numeric.ts";
import type { ByteSource, HostTensor } from "../../tensor/tensor.ts";
import type { IndexedDataset } from "../dataset.ts";
import { fromRows, withLabels } from "../from-tensors.ts";
import { type Rows, repeatedRow, residentRows } from "../rows.ts";
import { openArray, readNpy } from "./npy.ts";
import { openZipEntry, readZipDirectory } from "./zip.ts";

/** Names under which the classes of samples are found, unless the model has an input of that name. */
const labelNames: ReadonlySet<string> = new Set(["label", "labels", "y", "target", "targets"]);

/**
 * The arrays of an .npz archive by name; those stored uncompressed stay in the file. One without axes is the same for each
 * of the samples that the others hold. Throws `format` or `data`.
 */
export async function openNpz(source: ByteSource): Promise<ReadonlyMap<string, Rows>> {
  const arrays = new Map<string, Rows | HostTensor>();
  for (const entry of await readZipDirectory(source)) {
    if (!entry.name.endsWith(".npy")) continue;
    const name = entry.name.slice(0, -4);
    const content = await openZipEntry(source, entry);
    arrays.set(
      name,
      content instanceof Uint8Array
        ? rowsUnlessScalar(name, await readNpy(content, `${source.name}: ${entry.name}`))
        : await openArray(content, name),
    );
  }
  let count: number | undefined;
  for (const rows of arrays.values()) if ("read" in rows) count ??= rows.count;
  return new Map(
    [...arrays].map(([name, rows]): [string, Rows] => {
      if ("read" in rows) return [name, rows];
      return [name, count === undefined ? residentRows(name, rows) : repeatedRow(name, rows, count)];
    }),
  );
}

function rowsUnlessScalar(name: string, tensor: HostTensor): Rows | HostTensor {
  return tensor.shape.length === 0 ? tensor : residentRows(name, tensor);
}

/**
 * The dataset of an .npz archive: each array feeds the input of its name; integers called labels, y or target(s)
 * are the classes, unless `inputs` has that name. Throws `format` or `data`.
 */
export async function npzDataset(source: ByteSource, inputs: ReadonlySet<string> = new Set()): Promise<IndexedDataset> {
  const arrays = [...(await openNpz(source)).values()];
  if (arrays.length === 0) {
    throw new EspalierError("data", source.name, "expected arrays, got an archive without any .npy entry.");
  }
  const isLabel = (rows: Rows) => labelNames.has(rows.name) && !inputs.has(rows.name) && holdsClasses(rows);
  const labels = arrays.length > 1 ? arrays.find(isLabel) : undefined;
  const dataset = fromRows(
    arrays.filter((rows) => rows !== labels),
    source.name,
  );
  if (labels === undefined) return dataset;
  return withLabels(dataset, toFloat64(await whole(labels)), `${source.name}: ${labels.name}`);
}

/** All rows as one tensor. */
export async function whole(rows: Rows): Promise<HostTensor> {
  const positions = Int32Array.from({ length: rows.count }, (_, i) => i);
  return { dtype: rows.dtype, shape: [rows.count, ...rows.shape], bytes: await rows.read(positions) };
}

function holdsClasses({ dtype, shape }: Rows): boolean {
  const integers = dtype.startsWith("i") || dtype.startsWith("u");
  return integers && shape.every((n) => n === 1);
}
