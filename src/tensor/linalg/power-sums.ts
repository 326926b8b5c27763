/** Lines that are read at once: one pass over the sums for each four of them. */
const tile = 4;

/** Σ|x|ᵖ of each line. values: [lines, n]; result: [lines], in float64. */
export function lineSums(values: Float32Array, lines: number, p: 1 | 2): Float64Array {
  const n = values.length / lines;
  const out = new Float64Array(lines);
  for (let line = 0; line < lines; line++) {
    out[line] = p === 1 ? absoluteSum(values, line * n, n) : squareSum(values, line * n, n);
  }
  return out;
}

/** Σ|x|ᵖ over all lines at each position. values: [lines, n]; result: [n], in float64. */
export function crossSums(values: Float32Array, lines: number, p: 1 | 2): Float64Array {
  const n = values.length / lines;
  const out = new Float64Array(n);
  const whole = lines - (lines % tile);
  const add = p === 1 ? addAbsolutes : addSquares;
  for (let line = 0; line < whole; line += tile) add(values, line * n, out);
  if (whole < lines) {
    const rest = new Float32Array(tile * n);
    rest.set(values.subarray(whole * n));
    add(rest, 0, out);
  }
  return out;
}

/** Sums of the runs of `length` neighbours. values: [runs, length]; result: [runs]. */
export function runSums(values: Float64Array, length: number): Float64Array {
  if (length === 1) return values;
  const out = new Float64Array(values.length / length);
  for (let run = 0, i = 0; run < out.length; run++) {
    let sum = 0;
    for (const end = i + length; i < end; i++) sum += values[i] ?? 0;
    out[run] = sum;
  }
  return out;
}

// One loop for each power: a choice of the power inside made them three times slower.

function squareSum(w: Float32Array, start: number, count: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = start;
  for (const end = start + count - 3; i < end; i += 4) {
    const a = w[i] ?? 0;
    const b = w[i + 1] ?? 0;
    const c = w[i + 2] ?? 0;
    const d = w[i + 3] ?? 0;
    s0 += a * a;
    s1 += b * b;
    s2 += c * c;
    s3 += d * d;
  }
  for (; i < start + count; i++) s0 += (w[i] ?? 0) ** 2;
  return s0 + s1 + (s2 + s3);
}

function absoluteSum(w: Float32Array, start: number, count: number): number {
  let s0 = 0;
  let s1 = 0;
  let s2 = 0;
  let s3 = 0;
  let i = start;
  for (const end = start + count - 3; i < end; i += 4) {
    s0 += Math.abs(w[i] ?? 0);
    s1 += Math.abs(w[i + 1] ?? 0);
    s2 += Math.abs(w[i + 2] ?? 0);
    s3 += Math.abs(w[i + 3] ?? 0);
  }
  for (; i < start + count; i++) s0 += Math.abs(w[i] ?? 0);
  return s0 + s1 + (s2 + s3);
}

/** Adds the squares of `tile` lines of the length of `out`, which start at `start`. */
function addSquares(w: Float32Array, start: number, out: Float64Array): void {
  const n = out.length;
  for (let j = 0, i = start; j < n; j++, i++) {
    const a = w[i] ?? 0;
    const b = w[i + n] ?? 0;
    const c = w[i + 2 * n] ?? 0;
    const d = w[i + 3 * n] ?? 0;
    out[j] = (out[j] ?? 0) + (a * a + b * b + (c * c + d * d));
  }
}

function addAbsolutes(w: Float32Array, start: number, out: Float64Array): void {
  const n = out.length;
  for (let j = 0, i = start; j < n; j++, i++) {
    const a = Math.abs(w[i] ?? 0);
    const b = Math.abs(w[i + n] ?? 0);
    const c = Math.abs(w[i + 2 * n] ?? 0);
    const d = Math.abs(w[i + 3 * n] ?? 0);
    out[j] = (out[j] ?? 0) + (a + b + (c + d));
  }
}
