/** Rows as aligned columns; the first row is the heading. Numbers align right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths: number[] = [];
  for (const row of rows) for (const [i, cell] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, cell.length);
  const numeric = widths.map((_, i) => rows.slice(1).every((row) => /^[-\d.,%\s]*[kMGB%]?$/.test(row[i] ?? "")));
  return rows
    .map((row) =>
      row
        .map((cell, i) => (numeric[i] === true ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0)))
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

/** 1234567 as "1.23 M". */
export function compact(n: number): string {
  const units = ["", " k", " M", " G", " T"];
  let scaled = n;
  let unit = 0;
  while (Math.abs(scaled) >= 1000 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  return `${unit === 0 ? scaled : scaled.toPrecision(3)}${units[unit] ?? ""}`;
}

/** A value of a metric: a share as a percentage, a perplexity as a number. */
export function metricText(name: string, value: number): string {
  return name === "perplexity" || name === "bits per byte" ? value.toPrecision(4) : percent(value, 1);
}

/** What a metric counts. */
export function metricCount(name: string, n: number): string {
  return counted(n, name === "perplexity" ? "token" : name === "bits per byte" ? "byte" : "sample");
}

/** A share as a percentage with one decimal. */
export function percent(part: number, whole: number): string {
  return whole === 0 ? "-" : `${((100 * part) / whole).toFixed(1)} %`;
}

/** `1 group`, `3 groups`: the word for many is that for one with an s, unless given. */
export function counted(n: number, one: string, many = `${one}s`): string {
  return `${n} ${n === 1 ? one : many}`;
}
