import { checkMatrix, dot } from "./matrix.ts";
import { type Products, part, plainProducts } from "./products.ts";

export interface SolveMaskedOptions {
  /** λ, in the unit of A; default 0. */
  readonly damping?: number;
  /** Most steps, each one product of all rows with A; default 50. */
  readonly steps?: number;
  /** A row is done when what is left of it, against its start, is below this; default 1e-3. */
  readonly tolerance?: number;
  readonly products?: Products;
}

/**
 * The x of each row that minimises ½ xᵀ(A + λI)x − bᵀx among those that are zero where the mask of the row is: conjugate gradients
 * inside the mask, scaled by the diagonal, all rows at once, since masks that differ from row to row would each need a factor of their own.
 * Every step lowers the quadratic, so that a row that is stopped early is better than where it began, at zero. Inputs that never fire stay zero.
 * a: [n, n], positive semidefinite; b, mask: [rows, n] → [rows, n].
 */
export async function solveMasked(
  a: Float64Array,
  n: number,
  b: Float64Array,
  mask: Uint8Array,
  rows: number,
  { damping = 0, steps = 50, tolerance = 1e-3, products = plainProducts }: SolveMaskedOptions = {},
): Promise<Float64Array> {
  checkMatrix("matrix", a, n, n);
  checkMatrix("right-hand sides", b, rows, n);
  const x = new Float64Array(rows * n);
  const scale = Float64Array.from({ length: n }, (_, i) => {
    const entry = a[i * n + i] ?? 0;
    return entry > 0 ? 1 / (entry + damping) : 0;
  });
  const left = b.map((value, i) => value * (mask[i] ?? 0));
  const direction = new Float64Array(rows * n);
  const image = new Float64Array(rows * n);
  const size = new Float64Array(rows);
  const enough = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    turn(left, direction, scale, r * n, n, 0);
    size[r] = weighed(left, scale, r * n, n);
    enough[r] = (size[r] ?? 0) * tolerance ** 2;
  }
  for (let step = 0; step < steps; step++) {
    if (size.every((value, r) => value <= (enough[r] ?? 0))) break;
    image.fill(0);
    await products.addRowProducts(part(image, n), part(direction, n), part(a, n), rows, n, n, 1);
    for (let r = 0; r < rows; r++) {
      const [at, was] = [r * n, size[r] ?? 0];
      if (was <= (enough[r] ?? 0)) continue;
      const curvature = dot(direction, at, image, at, n) + damping * dot(direction, at, direction, at, n);
      if (!(curvature > 0)) {
        size[r] = 0;
        continue;
      }
      advance(x, left, direction, image, mask, at, n, was / curvature, damping);
      const now = weighed(left, scale, at, n);
      turn(left, direction, scale, at, n, now / was);
      size[r] = now;
    }
  }
  return x;
}

/** x += amount · p and r −= amount · (A p + λ p) inside the mask. */
function advance(
  x: Float64Array,
  left: Float64Array,
  direction: Float64Array,
  image: Float64Array,
  mask: Uint8Array,
  at: number,
  n: number,
  amount: number,
  damping: number,
): void {
  for (let i = at; i < at + n; i++) {
    if (mask[i] !== 1) continue;
    const p = direction[i] ?? 0;
    x[i] = (x[i] ?? 0) + amount * p;
    left[i] = (left[i] ?? 0) - amount * ((image[i] ?? 0) + damping * p);
  }
}

/** p = r scaled + keep · p. */
function turn(
  left: Float64Array,
  direction: Float64Array,
  scale: Float64Array,
  at: number,
  n: number,
  keep: number,
): void {
  for (let i = 0; i < n; i++)
    direction[at + i] = (left[at + i] ?? 0) * (scale[i] ?? 0) + keep * (direction[at + i] ?? 0);
}

/** rᵀ r, scaled. */
function weighed(left: Float64Array, scale: Float64Array, at: number, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += (left[at + i] ?? 0) ** 2 * (scale[i] ?? 0);
  return sum;
}
