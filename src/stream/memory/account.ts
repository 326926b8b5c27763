import { EspalierError } from "../../tensor/error.ts";

/** Bytes that a run keeps in memory, counted before they are allocated. */
export interface Account {
  /** Bytes that may be taken at once. */
  readonly limit: number;
  /** Bytes that are taken now, and the most that were at once. */
  readonly taken: number;
  readonly peak: number;
  /** Counts bytes that are about to be allocated, until they are given back. Throws `request` where there is no room for them. */
  take(what: string, bytes: number): GiveBack;
  /** The same; null where there is no room. */
  tryTake(bytes: number): GiveBack | null;
}

/** Says that bytes were freed; a second time says nothing. */
export type GiveBack = () => void;

/**
 * An account of so many bytes, all the same what they are for; a part of another one takes them there too. `collect` frees what was
 * given back, and is called where more is about to be allocated.
 */
export function openAccount(
  limit = Number.POSITIVE_INFINITY,
  { of, collect }: { readonly of?: Account; readonly collect?: () => void } = {},
): Account {
  let [taken, peak] = [0, 0];
  const tryTake = (bytes: number): GiveBack | null => {
    if (taken + bytes > limit) return null;
    const back = of === undefined ? () => undefined : of.tryTake(bytes);
    if (back === null) return null;
    collect?.();
    taken += bytes;
    peak = Math.max(peak, taken);
    let isTaken = true;
    return () => {
      if (!isTaken) return;
      isTaken = false;
      taken -= bytes;
      back();
    };
  };
  return {
    limit,
    get taken() {
      return taken;
    },
    get peak() {
      return peak;
    },
    tryTake,
    take: (what, bytes) => {
      const back = tryTake(bytes);
      if (back !== null) return back;
      const mb = (n: number): string => `${Math.ceil(n / 1e6)} MB`;
      const message = `expected room for ${mb(bytes)} of ${what}, got ${mb(taken)} of ${mb(limit)} taken.`;
      throw new EspalierError("request", "--memory", message, "Give more memory or a shorter --window.");
    },
  };
}
