import { adam, adamW } from "./adam.ts";
import { lars } from "./lars.ts";
import { lion } from "./lion.ts";
import { sgd } from "./sgd.ts";

/** Every optimiser by the name that recipes use. */
export const optimisers = { adam, adamW, lars, lion, sgd };
