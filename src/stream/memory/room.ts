import type { RunMemory } from "../../runtime/runtime.ts";
import { type Account, openAccount } from "./account.ts";

/** The memory that a run has. */
export interface Room {
  /** Where all that is kept is counted. */
  readonly account: Account;
  /** The next stage is read while this one is worked on. */
  readonly ahead: boolean;
  /** Bytes that the runtime works with while a batch runs through a stage, and while one window does so for gradients and back. */
  readonly forward: number;
  readonly backward: number;
  /** Frees what is held no longer; called between two steps that allocate much. */
  readonly collect: () => void;
}

/** As much as anybody takes. */
export function openRoom(): Room {
  return { account: openAccount(), ahead: true, forward: 0, backward: 0, collect: () => undefined };
}

/** What sessions do with memory between their runs: where it is counted, they give it back. */
export function sessionMemory({ account }: Room): RunMemory {
  return account.limit === Number.POSITIVE_INFINITY ? "kept" : "freed";
}
