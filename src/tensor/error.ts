/** Every kind of failure that espalier reports, in one place, so that each has its section in docs/errors.md. */
export type ErrorCode =
  | "format" // the bytes of a file are not what their format promises
  | "model" // a graph is not valid or not supported
  | "shape" // sizes do not fit together
  | "data" // calibration or evaluation data cannot be used
  | "request" // an option or a combination of options cannot be met
  | "file" // the operating system refused
  | "runtime" // the runtime refused or failed
  | "gradient" // something cannot be differentiated
  | "law"; // removed and masked disagree

/** The one error class: where it happened, what was expected and found, and what to do about it. */
export class EspalierError extends Error {
  readonly code: ErrorCode;
  /** The file, node, parameter or option concerned. */
  readonly where: string;
  /** What the user can do. */
  readonly hint: string;

  constructor(code: ErrorCode, where: string, message: string, hint = "", options?: ErrorOptions) {
    super(`${where}: ${message}${hint === "" ? "" : ` ${hint}`}`, options);
    this.name = "EspalierError";
    this.code = code;
    this.where = where;
    this.hint = hint;
  }
}

/** The name among `known` nearest to `name` by edit distance, as a sentence, or "" when nothing is near. */
export function didYouMean(name: string, known: Iterable<string>): string {
  let best = "";
  let bestDistance = Math.max(2, Math.floor(name.length / 3)) + 1;
  for (const candidate of known) {
    const distance = editDistance(name, candidate, bestDistance);
    if (distance < bestDistance) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best === "" ? "" : `Did you mean "${best}"?`;
}

function editDistance(a: string, b: string, limit: number): number {
  if (Math.abs(a.length - b.length) >= limit) return limit;
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[b.length] ?? limit;
}
