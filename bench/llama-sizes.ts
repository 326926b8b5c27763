import type { LlamaSizes } from "../src/testbeds/models/llama-checkpoint.ts";

/** Llamas by their millions of parameters. */
const models: Readonly<Record<string, LlamaSizes>> = {
  4: { vocabulary: 2000, width: 256, layers: 4, heads: 8, kvHeads: 4, inner: 704 },
  20: { vocabulary: 4000, width: 512, layers: 6, heads: 8, kvHeads: 4, inner: 1408 },
  150: { vocabulary: 8000, width: 1024, layers: 12, heads: 16, kvHeads: 4, inner: 2816 },
  1100: { vocabulary: 32_000, width: 2048, layers: 22, heads: 32, kvHeads: 4, inner: 5632 },
  7000: { vocabulary: 32_000, width: 4096, layers: 32, heads: 32, kvHeads: 32, inner: 11_008 },
};

/** The Llama that a size such as `1100` names, or `1100:2`, which has the same widths and two blocks. */
export function llamaOfSize(size: string): LlamaSizes {
  const [widths = "", blocks] = size.split(":");
  const whole = models[widths];
  if (whole === undefined) throw new Error(`expected one of ${Object.keys(models).join(", ")}, got ${size}`);
  return blocks === undefined ? whole : { ...whole, layers: Number(blocks) };
}
