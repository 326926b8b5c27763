import type { Coupling } from "../../coupling/couple.ts";
import { vectorRoles } from "../../coupling/roles.ts";
import type { Graph } from "../../graph/graph.ts";
import { keptPositions, type UnitMasks } from "../../surgery/kept.ts";
import { isFloat } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";

/** Every scale of a norm, with null: all its channels count. Throws `request` where there is none. */
export function normScales(graph: Graph): ReadonlyMap<string, null> {
  const found = new Map<string, null>();
  for (const [name, role] of vectorRoles(graph)) {
    const ref = graph.constants.get(name);
    if (role === "scale" && ref?.shape.length === 1 && isFloat(ref.dtype)) found.set(name, null);
  }
  if (found.size > 0) return found;
  const hint = "Choose a network with norms that have scales.";
  throw new EspalierError("request", "norm scales", "expected at least one scale to shrink, got none.", hint);
}

/** Scales of norms with 1 for the channels of units that are to go, 0 for the others; scales that lose none are left out. */
export function scalesOfUnits(graph: Graph, coupling: Coupling, units: UnitMasks): ReadonlyMap<string, Float32Array> {
  const kept = keptPositions(coupling, units);
  const found = new Map<string, Float32Array>();
  for (const name of normScales(graph).keys()) {
    const mask = kept.mask(name, 0);
    if (mask !== null)
      found.set(
        name,
        Float32Array.from(mask, (keep) => 1 - keep),
      );
  }
  return found;
}
