/**
 * How much each of several parts keeps where all together keep a share, so that the more important keep more: a sigmoid of how far
 * each importance is from the mean, scaled to that share (CFSP, Wang et al. 2024, section 3.2). Where a part would keep all and more,
 * all differences shrink alike, so that none keeps above `kept` + (1 − `kept`)/1.05. Importances are mean angles as shares of half a
 * turn; 13.1 is what the 10⁻⁴ of the authors' sums over 128 · 1024 tokens is beside means.
 */
export function keptByImportance(importance: readonly number[], kept: number, strength = 1): readonly number[] {
  const mean = average(importance);
  const shares = importance.map((own) => 1 / (1 + Math.exp(-13.1 * strength * (own - mean))));
  const middle = average(shares);
  const most = Math.max(...shares);
  const shrink = kept * most < middle || most === middle ? 1 : (middle * (1 / kept - 1)) / (most - middle) / 1.05;
  return shares.map((share) => (kept * (middle + (share - middle) * shrink)) / middle);
}

function average(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
