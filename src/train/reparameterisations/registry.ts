import { gate } from "./gate.ts";
import { lora } from "./lora.ts";
import { lowRank } from "./low-rank.ts";
import { mask } from "./mask.ts";
import { scoreMask } from "./score-mask.ts";
import { sharedTable } from "./shared-table.ts";
import { softMask, topMask } from "./soft-mask.ts";

/** Every re-parameterisation by its name. */
export const reparameterisations = { gate, lora, lowRank, mask, scoreMask, sharedTable, softMask, topMask };
