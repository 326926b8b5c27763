/**
 * Cosine and sine of an angle in degrees, by products and sums only: the same bits on every platform, which
 * `Math.cos` does not promise. Error below 1e-15.
 */
export function turn(degrees: number): readonly [cosine: number, sine: number] {
  const quarter = Math.round(degrees / 90);
  const x = ((degrees - 90 * quarter) * Math.PI) / 180;
  const square = x * x;
  let [cosine, sine] = [0, 0];
  for (let k = 18; k >= 2; k -= 2) {
    cosine = (1 - cosine) * (square / (k * (k - 1)));
    sine = (1 - sine) * (square / (k * (k + 1)));
  }
  const [c, s] = [1 - cosine, x * (1 - sine)];
  switch (((quarter % 4) + 4) % 4) {
    case 0:
      return [c, s];
    case 1:
      return [-s, c];
    case 2:
      return [-c, -s];
    default:
      return [s, -c];
  }
}
