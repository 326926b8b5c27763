import type { GradientCase } from "./check.ts";
import { convolutionCases } from "./convolutions.ts";
import { elementwiseCases } from "./elementwise.ts";
import { moveCases } from "./moves.ts";
import { normCases } from "./norms.ts";
import { poolCases } from "./pools.ts";
import { productCases } from "./products.ts";
import { sampledCases } from "./sampled.ts";

/** Every case whose derivatives are compared with central differences. */
export const differenceCases: readonly GradientCase[] = [
  ...elementwiseCases,
  ...productCases,
  ...moveCases,
  ...convolutionCases,
  ...normCases,
  ...poolCases,
  ...sampledCases,
];

/** Operator and form. */
export const titleOf = ({ op, form }: GradientCase): string => (form === undefined ? op : `${op}, ${form}`);
