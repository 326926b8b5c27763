import { EspalierError } from "../error.ts";
import { checkMatrix, dot, transposed } from "./matrix.ts";

/**
 * X that minimises ‖A X − B‖, by Householder reflections. a: [m, n] with m >= n, b: [m, r] → [n, r].
 * Throws `data` where the columns of a depend on each other.
 */
export function leastSquares(a: Float64Array, b: Float64Array, m: number, n: number, r: number): Float64Array {
  checkMatrix("matrix of a least-squares problem", a, m, n);
  checkMatrix("right-hand sides", b, m, r);
  const columns = transposed(a, m, n);
  const sides = transposed(b, m, r);
  const diagonal = new Float64Array(n);
  for (let j = 0; j < n; j++) {
    const at = j * m + j;
    const norm = Math.sqrt(dot(columns, at, columns, at, m - j));
    const whole = Math.sqrt(dot(columns, j * m, columns, j * m, m));
    if (!(norm > m * Number.EPSILON * whole)) {
      throw new EspalierError(
        "data",
        `least squares [${m}, ${n}]`,
        `expected independent columns, got a column ${j} that the ones before explain.`,
        "Use more samples or damping.",
      );
    }
    // The sign that avoids cancellation.
    const pivot = columns[at] ?? 0;
    const image = pivot > 0 ? -norm : norm;
    diagonal[j] = image;
    columns[at] = pivot - image;
    const scale = 1 / (image * (image - pivot));
    for (let k = j + 1; k < n; k++) reflect(columns, k * m + j, columns, at, m - j, scale);
    for (let k = 0; k < r; k++) reflect(sides, k * m + j, columns, at, m - j, scale);
  }
  const x = new Float64Array(n * r);
  for (let k = 0; k < r; k++) {
    for (let i = n - 1; i >= 0; i--) {
      let rest = sides[k * m + i] ?? 0;
      for (let j = i + 1; j < n; j++) rest -= (columns[j * m + i] ?? 0) * (x[j * r + k] ?? 0);
      x[i * r + k] = rest / (diagonal[i] ?? 1);
    }
  }
  return x;
}

/** Coefficients of the polynomial of this degree nearest to the points, constant term first. Throws `data`. */
export function polynomialFit(x: ArrayLike<number>, y: ArrayLike<number>, degree: number): Float64Array {
  const width = degree + 1;
  const powers = new Float64Array(x.length * width);
  for (let i = 0; i < x.length; i++) {
    for (let j = 0; j < width; j++) powers[i * width + j] = (x[i] ?? 0) ** j;
  }
  if (x.length < width) {
    throw new EspalierError("data", "polynomial fit", `expected at least ${width} points, got ${x.length}.`);
  }
  return leastSquares(powers, Float64Array.from(y), x.length, width, 1);
}

/** target -= scale (v · target) v */
function reflect(target: Float64Array, at: number, v: Float64Array, vAt: number, length: number, scale: number): void {
  const factor = scale * dot(target, at, v, vAt, length);
  for (let i = 0; i < length; i++) target[at + i] = (target[at + i] ?? 0) - factor * (v[vAt + i] ?? 0);
}
