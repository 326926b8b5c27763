import type { InputMoments, TargetMoments } from "../stats/taps/moments.ts";
import { factorise, solveRows } from "../tensor/linalg/cholesky.ts";
import { fitLayers, type LayerNumbers } from "./fit-layers.ts";
import type { Recovery } from "./recovery.ts";

/** Scales are held to this size. */
const largest = 10;

/** A matrix whose columns were scaled. */
export interface ScaledInputs extends LayerNumbers {
  /** One number for each column. */
  readonly scales: Float64Array;
  /** Mean squared error over the calibration inputs before and after, summed over rows. */
  readonly before: number;
  readonly after: number;
}

/**
 * The scales m of the columns of W that minimise E‖scale · (W diag(m) x + b) + shift − d‖² + ρ‖m − 1‖², ρ being `pull` times the mean
 * diagonal of the normal equations ((XᵀX) ∘ (WᵀW)) m = diag(WᵀDᵀX) (mask tuning of COMP, Xu et al. 2025, reconstructed). Biases stay. Where
 * the error would not fall nothing changes; columns of groups that are apart stay as they are.
 */
export function scaleInputs(
  inputs: InputMoments,
  target: TargetMoments,
  { weights, bias }: LayerNumbers,
  ending: { readonly scale: Float64Array; readonly shift: Float64Array },
  pull: number,
): ScaledInputs {
  const { count, columns: n } = inputs;
  const [gram] = inputs.gram;
  const [cross] = target.cross;
  const scales = new Float64Array(n).fill(1);
  if (gram === undefined || cross === undefined || inputs.gram.length !== 1) {
    return { weights, bias, scales, before: Number.NaN, after: Number.NaN };
  }
  const a = new Float64Array(n * n);
  const b = new Float64Array(n);
  let constant = 0;
  for (let r = 0; r < target.rows; r++) {
    const at = r * n;
    const scale = ending.scale[r] ?? 1;
    const offset = (ending.shift[r] ?? 0) + scale * (bias[r] ?? 0);
    constant += (target.squares[r] ?? 0) - 2 * offset * (target.sum[r] ?? 0) + offset * offset * count;
    for (let j = 0; j < n; j++) {
      const w = scale * (weights[at + j] ?? 0);
      b[j] = (b[j] ?? 0) + w * ((cross[at + j] ?? 0) - offset * (inputs.sum[j] ?? 0));
      for (let k = 0; k < n; k++) a[j * n + k] = (a[j * n + k] ?? 0) + w * scale * (weights[at + k] ?? 0);
    }
  }
  for (let i = 0; i < a.length; i++) a[i] = (a[i] ?? 0) * (gram[i] ?? 0);
  const errorAt = (m: Float64Array): number => {
    let sum = constant;
    for (let j = 0; j < n; j++) {
      let image = 0;
      for (let k = 0; k < n; k++) image += (a[j * n + k] ?? 0) * (m[k] ?? 0);
      sum += (m[j] ?? 0) * (image - 2 * (b[j] ?? 0));
    }
    return Math.max(0, sum) / count;
  };
  const before = errorAt(scales);
  const factor = factorise(a, n, { damping: pull });
  const found = solveRows(factor, pulled(a, b, factor.damping), 1);
  for (let j = 0; j < n; j++) found[j] = Math.min(largest, Math.max(-largest, found[j] ?? 1));
  for (const j of factor.dead) found[j] = 1;
  const after = errorAt(found);
  if (!(after < before)) return { weights, bias, scales, before, after: before };
  return { weights: weights.map((w, i) => w * (found[i % n] ?? 1)), bias, scales: found, before, after };
}

/** b + ρ · 1, with ρ a fraction of the mean diagonal of A, of inputs that ever fire. */
function pulled(a: Float64Array, b: Float64Array, fraction: number): Float64Array {
  const diagonal = b.map((_, j) => a[j * b.length + j] ?? 0).filter((entry) => entry !== 0);
  const mean = diagonal.reduce((sum, entry) => sum + entry, 0) / Math.max(1, diagonal.length);
  return b.map((value) => value + fraction * mean);
}

/** Scales the inputs of each matrix that lost some, so that it gives what it gave from what is left (COMP's mask tuning). */
export function inputScales({ pull = 1e-3 }: { readonly pull?: number } = {}): Recovery {
  return {
    id: "scales",
    needsData: true,
    apply: (context) =>
      fitLayers(context, {
        ...{ id: "scales", layers: "cut", positionsPerColumn: 128 },
        fit: ({ inputs, target, now, ending }) => scaleInputs(inputs, target, now, ending, pull),
      }),
  };
}
