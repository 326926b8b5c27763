import * as z from "zod";
import type { Safetensors } from "../formats/safetensors/read.ts";
import { EspalierError } from "../tensor/error.ts";
import { type HostTensor, load, refOf } from "../tensor/tensor.ts";
import type { RunSnapshot } from "./train.ts";

const FORM = "espalier training snapshot 1";

const point = z.tuple([z.int(), z.number(), z.array(z.tuple([z.string(), z.number()]))]);
const counts = z.object({ updates: z.int().min(0), planned: z.int().min(1), points: z.array(point) });

/** A snapshot as the content of a safetensors file. `request` tells what is trained, and how. */
export function snapshotFile({ updates, planned, points, tensors }: RunSnapshot, request: string): Safetensors {
  const rows = points.map(({ update, rate, reports }) => [update, rate, [...reports]]);
  return {
    tensors: new Map([...tensors].map(([name, tensor]) => [name, refOf(tensor)])),
    metadata: new Map([
      ["form", FORM],
      ["request", request],
      ["run", JSON.stringify({ updates, planned, points: rows })],
    ]),
  };
}

/** The snapshot that a file holds. Throws `request` where it is of another training, `format` where it is none. */
export async function snapshotFrom(file: Safetensors, request: string, where: string): Promise<RunSnapshot> {
  if (file.metadata.get("form") !== FORM) {
    throw new EspalierError("format", where, "expected a snapshot of a training, got another file.");
  }
  if (file.metadata.get("request") !== request) {
    const hint = "Repeat the recipe and the data of the run that it belongs to, or remove the file to start anew.";
    throw new EspalierError("request", where, "expected the snapshot of the same training, got another's.", hint);
  }
  const parsed = counts.safeParse(jsonOf(file.metadata.get("run") ?? ""));
  if (!parsed.success) throw new EspalierError("format", where, "expected counts and curves of a run, got others.");
  const { updates, planned, points } = parsed.data;
  const tensors = new Map<string, HostTensor>();
  for (const [name, ref] of file.tensors) tensors.set(name, await load(ref));
  return {
    updates,
    planned,
    tensors,
    points: points.map(([update, rate, reports]) => ({ update, rate, reports: new Map(reports) })),
  };
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
