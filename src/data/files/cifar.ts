import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import type { IndexedDataset } from "../dataset.ts";
import { fromRows, withLabels } from "../from-tensors.ts";
import { fileRows } from "../rows.ts";

const imageBytes = 3072;
const recordsPerRead = 512;

/** The two record layouts of https://www.cs.toronto.edu/~kriz/cifar.html: bytes before the pixels, the last the class. */
const layouts = [
  { kind: "CIFAR-10", labelBytes: 1, classes: 10 },
  { kind: "CIFAR-100", labelBytes: 2, classes: 100 },
] as const;

/**
 * The labelled images of a CIFAR-10 or CIFAR-100 binary file: bytes [3, 32, 32], red plane first.
 * Pixels stay in the file. Throws `format` where the size or a label fits neither.
 */
export async function openCifar(source: ByteSource, name = "data"): Promise<IndexedDataset> {
  let wrongLabel: EspalierError | undefined;
  for (const { kind, labelBytes, classes } of layouts) {
    const stride = labelBytes + imageBytes;
    if (source.size === 0 || source.size % stride !== 0) continue;
    const count = source.size / stride;
    const labels = await readLabels(source, count, stride, labelBytes - 1);
    const wrong = labels.findIndex((label) => label >= classes);
    if (wrong < 0) {
      const plan = { dtype: "u8", shape: [3, 32, 32], count, offset: labelBytes, stride } as const;
      return withLabels(fromRows([fileRows(name, source, plan)], `${kind}, ${source.name}`), labels, source.name);
    }
    const message = `expected labels below ${classes} for ${kind}, got ${labels[wrong]} in record ${wrong}.`;
    wrongLabel ??= new EspalierError("format", source.name, message);
  }
  if (wrongLabel !== undefined) throw wrongLabel;
  const message = `expected records of 3073 bytes (CIFAR-10) or 3074 (CIFAR-100), got ${source.size} bytes in all.`;
  throw new EspalierError("format", source.name, message, "The file is cut off or of another kind.");
}

async function readLabels(source: ByteSource, count: number, stride: number, at: number): Promise<Int32Array> {
  const labels = new Int32Array(count);
  for (let first = 0; first < count; first += recordsPerRead) {
    const records = Math.min(recordsPerRead, count - first);
    const bytes = await source.read(first * stride, records * stride);
    for (let i = 0; i < records; i++) labels[first + i] = bytes[i * stride + at] ?? 0;
  }
  return labels;
}
