/** Reads 500MB, 3GB, or a plain number of bytes; null for anything else. */
export function byteCount(text: string): number | null {
  const [, digits = "", unit = ""] = /^(\d+(?:\.\d+)?)\s*(|[kMGT]B)$/.exec(text) ?? [];
  const value = Math.floor(Number(digits) * 1000 ** ["", "kB", "MB", "GB", "TB"].indexOf(unit));
  return digits !== "" && value >= 1 ? value : null;
}
