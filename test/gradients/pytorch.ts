import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { z } from "zod";
import type { Attributes } from "../../src/graph/attributes.ts";
import type { GradientCase } from "./check.ts";

const attribute = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("int"), value: z.number() }),
  z.object({ kind: z.literal("float"), value: z.number() }),
  z.object({ kind: z.literal("string"), value: z.string() }),
  z.object({ kind: z.literal("ints"), value: z.array(z.number()) }),
  z.object({ kind: z.literal("floats"), value: z.array(z.number()) }),
]);
const shape = z.array(z.number());
const list = z.array(z.number());
const input = z.union([
  z.null(),
  z.object({ shape, values: list, gradient: list }),
  z.object({ shape, ints: list }),
  z.object({ shape, floats: list }),
]);
const fixture = z.array(
  z.object({
    op: z.string(),
    form: z.string(),
    attributes: z.record(z.string(), attribute),
    inputs: z.array(input),
    weights: list,
  }),
);

/** A case with what PyTorch found in float64. */
export interface PyTorchCase {
  readonly one: GradientCase;
  /** The loss is the sum of the output times these. */
  readonly weights: readonly number[];
  /** Of each float input, in their order. */
  readonly gradients: readonly (readonly number[])[];
}

const file = new URL("../fixtures/operator-gradients.json.gz", import.meta.url);

/** The cases that `test/export/operator_gradients.py` wrote. */
export const pytorchCases: readonly PyTorchCase[] = fixture
  .parse(JSON.parse(gunzipSync(readFileSync(file)).toString()))
  .map(({ op, form, attributes, inputs, weights }) => {
    const named: Attributes = attributes;
    return {
      one: { op, form, inputs, attributes: named, dtype: "f32" },
      weights,
      gradients: inputs.flatMap((operand) => (operand !== null && "gradient" in operand ? [operand.gradient] : [])),
    };
  });
