import type { CheckpointModel } from "../../models/checkpoint/checkpoint-model.ts";
import { arrayCollector } from "../../runtime/array-collector.node.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { type Account, openAccount } from "../memory/account.ts";
import { anonymousBytes } from "../memory/anonymous-bytes.node.ts";
import { type MemoryNeeds, memoryLayout } from "../memory/memory.ts";
import type { Room } from "../memory/room.ts";
import type { CheckpointReport } from "../report.ts";
import type { WindowFacts } from "./fingerprint.ts";

/** The memory of a run into a folder, and what follows from it. */
export interface RunRoom {
  readonly room: Room;
  /** Windows that run at once. */
  readonly batchSize: number;
  /** Where hidden states in memory are counted. */
  readonly near: Account;
  /** What of it has been counted, for the report. */
  memory(): CheckpointReport["memory"];
}

/** What a run asks for. */
interface Asked {
  readonly runtime: Runtime;
  /** Bytes that the run may take; as much as it takes unless told. */
  readonly memory: number | undefined;
  /** Windows that run at once, at most. */
  readonly batchSize: number;
  /** Those of the run that is gone on with, since sums depend on them. */
  readonly earlier: number | null;
  /** All windows that pass the model. */
  readonly windows: readonly WindowFacts[];
}

/** Lays a run out within the memory that it is given. Throws `request` where that is too little. */
export async function runRoom(
  model: CheckpointModel,
  { runtime, memory, batchSize, earlier, windows }: Asked,
  { needs, gradients, head }: Pick<MemoryNeeds, "needs" | "gradients" | "head">,
): Promise<RunRoom> {
  const fixed = earlier !== null && earlier <= batchSize ? earlier : null;
  const layout =
    memory === undefined
      ? null
      : await memoryLayout(
          model,
          runtime,
          {
            windows: Math.max(0, ...windows.map(({ count }) => count)),
            time: Math.max(1, ...windows.map(({ time }) => time)),
            ...{ needs, gradients, head, least: fixed ?? 1, most: fixed ?? batchSize },
          },
          { limit: memory, taken: anonymousBytes },
        );
  const collect = layout === null ? () => undefined : arrayCollector();
  const account = openAccount(layout === null ? undefined : memory, { collect });
  account.take("the process and the runtime", layout?.process ?? 0);
  return {
    room: { ahead: true, forward: 0, backward: 0, ...layout, account, collect },
    batchSize: layout?.batchSize ?? batchSize,
    near: openAccount(layout?.hidden, { of: account }),
    memory: () => (layout === null ? null : { limit: account.limit, counted: account.peak }),
  };
}
