import { EspalierError } from "../tensor/error.ts";
import { formatShape, type HostTensor, sizeOf } from "../tensor/tensor.ts";
import { checkFinite } from "./changes/finite.ts";
import { type IndexedDataset, indexed } from "./dataset.ts";
import { type Rows, residentRowsOf } from "./rows.ts";

/**
 * A dataset over tensors in memory, axis 0 counting samples; one without axes is the same for all. Bytes are shared, not copied.
 * Throws `data` where counts differ; NaN and infinities when they are met.
 */
export function fromTensors(
  tensors: Readonly<Record<string, HostTensor>> | ReadonlyMap<string, HostTensor>,
  labels?: ArrayLike<number>,
  description = "tensors in memory",
): IndexedDataset {
  const rows = residentRowsOf(new Map(tensors instanceof Map ? tensors : Object.entries(tensors)));
  const unlabelled = fromRows(rows, description);
  return labels === undefined ? unlabelled : withLabels(unlabelled, labels);
}

/** A dataset over rows, wherever they are. Throws `data` where there are none or their counts differ. */
export function fromRows(rows: readonly Rows[], description: string): IndexedDataset {
  const first = rows[0];
  if (first === undefined) throw new EspalierError("data", description, "expected at least one tensor, got none.");
  for (const row of rows) {
    // Rows without elements would let a file of a hundred bytes claim any number of samples.
    if (sizeOf(row.shape) === 0) {
      const got = formatShape([row.count, ...row.shape]);
      throw new EspalierError(
        "data",
        description,
        `expected samples with elements in "${row.name}", got shape ${got}.`,
      );
    }
    if (row.count === first.count) continue;
    const message = `expected as many samples in "${row.name}" as in "${first.name}" (${first.count}), got ${row.count}.`;
    throw new EspalierError("data", description, message);
  }
  return indexed({
    description,
    count: first.count,
    labelled: false,
    features: new Map(rows.map((row) => [row.name, { dtype: row.dtype, shape: row.shape }])),
    async gather(positions) {
      const inputs = new Map<string, HostTensor>();
      for (const row of rows) {
        const { dtype, shape } = row;
        const tensor = { dtype, shape: [positions.length, ...shape], bytes: await row.read(positions) };
        checkFinite(description, row.name, tensor, positions);
        inputs.set(row.name, tensor);
      }
      return { inputs, count: positions.length };
    },
  });
}

/** The same samples with a class for each. Throws `data` unless there is one whole number from 0 for every sample. */
export function withLabels(dataset: IndexedDataset, labels: ArrayLike<number>, where = "labels"): IndexedDataset {
  if (labels.length !== dataset.count) {
    const message = `expected one label for each of ${dataset.count} samples, got ${labels.length}.`;
    throw new EspalierError("data", where, message, "Labels and inputs must come from the same split.");
  }
  const classes = new Int32Array(labels.length);
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] ?? 0;
    if (!Number.isInteger(label) || label < 0 || label > 0x7fffffff) {
      throw new EspalierError("data", where, `expected class numbers from 0, got ${label} for sample ${i}.`);
    }
    classes[i] = label;
  }
  return indexed({
    ...dataset,
    labelled: true,
    labelShape: [],
    async gather(positions) {
      const batch = await dataset.gather(positions);
      return { ...batch, labels: positions.map((position) => classes[position] ?? 0) };
    },
  });
}
