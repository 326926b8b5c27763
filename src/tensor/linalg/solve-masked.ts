import { checkMatrix, meanDiagonal } from "./matrix.ts";
import { type Floats, type Products, part, plainProducts } from "./products.ts";

export interface SolveMaskedOptions {
  /** λ, in the unit of A; default 0. */
  readonly damping?: number;
  /** Most steps, each one product of the rows that are not done with A; default 60. */
  readonly steps?: number;
  /** A row is done when what is left of it, against its start, is below this; default 1e-3. */
  readonly tolerance?: number;
  readonly products?: Products;
}

/** A smaller tolerance than this is beyond what products in float32 leave of a residual. */
const finest = 1e-5;

/**
 * The x of each row that minimises ½ xᵀ(A + λI)x − bᵀx among those that are zero where the mask of the row is: conjugate gradients
 * inside the mask, scaled by the diagonal, all rows at once, since masks that differ from row to row would each need a factor of their own.
 * Every step lowers the quadratic, so that a row that is stopped early is better than where it began, at zero. Inputs that never fire stay zero.
 * Products are of the rows that are not done, and in float32 where the tolerance allows it, which costs a step in ten; all else is float64.
 * a: [n, n], positive semidefinite; b, mask: [rows, n] → [rows, n].
 */
export async function solveMasked(
  a: Float64Array,
  n: number,
  b: Float64Array,
  mask: Uint8Array,
  rows: number,
  { damping = 0, steps = 60, tolerance = 1e-3, products = plainProducts }: SolveMaskedOptions = {},
): Promise<Float64Array> {
  checkMatrix("matrix", a, n, n);
  checkMatrix("right-hand sides", b, rows, n);
  const x = new Float64Array(rows * n);
  const scale = Float64Array.from({ length: n }, (_, i) => {
    const entry = a[i * n + i] ?? 0;
    return entry > 0 ? 1 / (entry + damping) : 0;
  });
  // In the unit of its mean diagonal, so that float32 holds it.
  const unit = meanDiagonal(a, n) || 1;
  const floats = (length: number): Floats => (tolerance < finest ? new Float64Array(length) : new Float32Array(length));
  const matrix = floats(n * n);
  for (let i = 0; i < matrix.length; i++) matrix[i] = (a[i] ?? 0) / unit;
  const left = b.map((value, i) => value * (mask[i] ?? 0));
  const [direction, packed, image] = [floats(rows * n), floats(rows * n), floats(rows * n)];
  const [size, enough] = [new Float64Array(rows), new Float64Array(rows)];
  for (let r = 0; r < rows; r++) {
    size[r] = weighed(left, scale, r * n, n);
    enough[r] = (size[r] ?? 0) * tolerance ** 2;
    turn(direction, left, scale, r * n, n, 0);
  }
  for (let step = 0; step < steps; step++) {
    const open = [...size.keys()].filter((r) => (size[r] ?? 0) > (enough[r] ?? 0));
    if (open.length === 0) break;
    for (const [i, r] of open.entries()) packed.set(direction.subarray(r * n, (r + 1) * n), i * n);
    image.fill(0, 0, open.length * n);
    await products.addRowProducts(part(image, n), part(packed, n), part(matrix, n), open.length, n, n, 1);
    for (const [i, r] of open.entries()) {
      const [at, was] = [r * n, size[r] ?? 0];
      const curvature = curved(direction, at, image, i * n, n, unit, damping);
      if (!(curvature > 0)) {
        size[r] = 0;
        continue;
      }
      const now = advance(x, left, { direction, image, mask, scale }, at, i * n, n, was / curvature, unit, damping);
      turn(direction, left, scale, at, n, now / was);
      size[r] = now;
    }
  }
  return x;
}

/** x += amount · p and r −= amount · (A p + λ p) inside the mask; gives rᵀ r, scaled. */
function advance(
  x: Float64Array,
  left: Float64Array,
  along: {
    readonly direction: Floats;
    readonly image: Floats;
    readonly mask: Uint8Array;
    readonly scale: Float64Array;
  },
  at: number,
  imageAt: number,
  n: number,
  amount: number,
  unit: number,
  damping: number,
): number {
  const { direction, image, mask, scale } = along;
  const [toImage, toSelf] = [amount * unit, amount * damping];
  let sum = 0;
  for (let i = 0; i < n; i++) {
    const p = direction[at + i] ?? 0;
    x[at + i] = (x[at + i] ?? 0) + amount * p;
    // A product, since a branch on a mask is as good as random.
    const fall = (mask[at + i] ?? 0) * (toImage * (image[imageAt + i] ?? 0) + toSelf * p);
    const still = (left[at + i] ?? 0) - fall;
    left[at + i] = still;
    sum += still * still * (scale[i] ?? 0);
  }
  return sum;
}

/** pᵀ(A + λI)p, from the image A p in the unit of A. */
function curved(
  direction: Floats,
  at: number,
  image: Floats,
  imageAt: number,
  n: number,
  unit: number,
  damping: number,
): number {
  let [along, square] = [0, 0];
  for (let i = 0; i < n; i++) {
    const p = direction[at + i] ?? 0;
    along += p * (image[imageAt + i] ?? 0);
    square += p * p;
  }
  return unit * along + damping * square;
}

/** p = r scaled + keep · p. */
function turn(direction: Floats, left: Float64Array, scale: Float64Array, at: number, n: number, keep: number): void {
  for (let i = 0; i < n; i++) {
    direction[at + i] = (left[at + i] ?? 0) * (scale[i] ?? 0) + keep * (direction[at + i] ?? 0);
  }
}

/** rᵀ r, scaled. */
function weighed(left: Float64Array, scale: Float64Array, at: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += (left[at + i] ?? 0) ** 2 * (scale[i] ?? 0);
  return sum;
}
