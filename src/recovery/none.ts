import type { Recovery } from "./recovery.ts";

/** Leaves the pruned graph as it is. */
export const none: Recovery = {
  id: "none",
  needsData: false,
  apply: ({ pruned }) => Promise.resolve(pruned),
};
