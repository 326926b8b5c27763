import type { Paper } from "../claims/paper.ts";
import { didYouMean, EspalierError } from "../tensor/error.ts";
import { depgraph } from "./depgraph.ts";
import { globalMp } from "./global-mp.ts";
import { rdPrune } from "./rd-prune.ts";
import { spa } from "./spa.ts";
import { sparsegpt } from "./sparsegpt.ts";
import { wanda } from "./wanda.ts";

/** Each entry stands under its own id, or this does not compile. */
const byId = <const T extends { readonly [Id in keyof T & string]: Paper<Id> }>(table: T): readonly Paper[] =>
  Object.values(table);

/** All papers by id, which is also the name of the file; a test finds files that are missing here. */
export const papers = byId({
  depgraph,
  "global-mp": globalMp,
  "rd-prune": rdPrune,
  spa,
  sparsegpt,
  wanda,
});

/** The paper of that id. Throws `request` with the nearest one for an unknown id. */
export function paperNamed(id: string): Paper {
  const found = papers.find((paper) => paper.id === id);
  if (found !== undefined) return found;
  const ids = papers.map((paper) => paper.id);
  const hint = didYouMean(id, ids) || "espalier papers list shows them all.";
  throw new EspalierError("request", `paper ${id}`, "expected the id of a paper.", hint);
}
