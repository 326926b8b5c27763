/** 1234567 as "1.23 M". */
export function short(n: number, unit = ""): string {
  const steps = ["", "k", "M", "G", "T"];
  let scaled = n;
  let step = 0;
  while (Math.abs(scaled) >= 1000 && step < steps.length - 1) {
    scaled /= 1000;
    step++;
  }
  const digits = step === 0 && Number.isInteger(scaled) ? `${scaled}` : scaled.toPrecision(3);
  return `${digits} ${steps[step] ?? ""}${unit}`.trim();
}

/** A share as a percentage with one decimal; a dash where there is no whole. */
export function share(part: number | null | undefined, whole: number | null | undefined = 1): string {
  if (part === null || part === undefined || whole === null || whole === undefined || whole === 0) return "–";
  return `${((100 * part) / whole).toFixed(1)} %`;
}

/** A value of a metric: a share as a percentage, a perplexity as a number. */
export function metricFigure({ name }: { readonly name: string }, value: number): string {
  return name === "perplexity" || name === "bits per byte" ? figures(value) : share(value);
}

/** Three significant digits, without an exponent where it can be avoided. */
export function figures(n: number | null | undefined): string {
  if (n === null || n === undefined) return "–";
  if (n === 0) return "0";
  const size = Math.abs(n);
  return size < 1e-4 || size >= 1e6 ? n.toExponential(2) : `${Number(n.toPrecision(3))}`;
}
