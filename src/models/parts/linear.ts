import { int } from "../../graph/attributes.ts";
import type { Site } from "../checkpoint/site.ts";
import type { Size } from "../checkpoint/size.ts";

export interface LinearShape {
  readonly inputs: Size;
  readonly outputs: Size;
  readonly bias?: boolean;
  /** The weight lies as [inputs, outputs] instead of [outputs, inputs]. */
  readonly transposed?: boolean;
}

/** x·Wᵀ + b over the last axis. Parameters: `weight`, and `bias` where there is one. */
export function linear(
  site: Site,
  x: string,
  { inputs, outputs, bias = false, transposed = false }: LinearShape,
): string {
  const weight = transposed
    ? site.parameter("weight", [inputs, outputs])
    : transposedWeight(site, site.parameter("weight", [outputs, inputs]));
  if (!bias) return site.named("MatMul", [x, weight]);
  return site.named("Add", [site.draft.op("MatMul", [x, weight]), site.parameter("bias", [outputs])]);
}

/** Rows of a table [entries, width] at i64 indices; parameter `weight`. */
export function embedding(site: Site, indices: string, entries: Size, width: Size): string {
  return site.draft.op("Gather", [site.parameter("weight", [entries, width]), indices], { axis: int(0) });
}

/** A weight [outputs, inputs] as [inputs, outputs]. */
function transposedWeight(site: Site, weight: string): string {
  return site.once(`transposed ${weight}`, () => site.transpose(weight, [1, 0]));
}

/** The last axis cut into pieces of these sizes. */
export function split<const T extends readonly number[]>(site: Site, x: string, sizes: T): { [K in keyof T]: string };
export function split(site: Site, x: string, sizes: readonly number[]): readonly string[] {
  const names = sizes.map(() => site.draft.fresh("Split"));
  return site.draft.op("Split", [x, site.int64(sizes)], { axis: int(-1) }, names);
}
