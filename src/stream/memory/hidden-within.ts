import { EspalierError } from "../../tensor/error.ts";
import type { HostTensor } from "../../tensor/tensor.ts";
import type { Account, GiveBack } from "./account.ts";
import type { HiddenStates } from "./hidden-states.ts";

/** Where a batch is: in memory, or under a number elsewhere. */
type Place = { readonly tensor: HostTensor; readonly back: GiveBack } | { readonly at: number };

/**
 * Hidden states in memory as far as there is room on the account; batches for which there is none go to what `elsewhere` opens, at
 * the first of them.
 */
export function hiddenWithin(account: Account, elsewhere: () => Promise<HiddenStates>): HiddenStates {
  const places: Place[] = [];
  let far: Promise<HiddenStates> | undefined;
  let distant = 0;
  return {
    get batches() {
      return places.length;
    },
    read: async (batch) => {
      const place = places[batch];
      if (place !== undefined && "tensor" in place) return place.tensor;
      if (place !== undefined && far !== undefined) return (await far).read(place.at);
      const message = `expected a batch below ${places.length}, got ${batch}.`;
      throw new EspalierError("request", "hidden states", message);
    },
    write: async (batch, tensor) => {
      const known = places[batch];
      if (known !== undefined && "back" in known) known.back();
      // What lies elsewhere has its place there.
      const back = known !== undefined && "at" in known ? null : account.tryTake(tensor.bytes.byteLength);
      if (back !== null) {
        places[batch] = { tensor, back };
        return;
      }
      far ??= elsewhere();
      const at = known !== undefined && "at" in known ? known.at : distant++;
      places[batch] = { at };
      await (await far).write(at, tensor);
    },
    release: async () => {
      for (const place of places.splice(0)) if ("back" in place) place.back();
      await (await far)?.release();
      far = undefined;
    },
  };
}
