import type * as z from "zod";
import { int } from "../../graph/attributes.ts";
import { EspalierError } from "../../tensor/error.ts";
import { count } from "../checkpoint/config.ts";
import type { ExpertGroups, Mixture, Site } from "../checkpoint/site.ts";
import { type Size, sizeOfField } from "../checkpoint/size.ts";
import { linear, split } from "./linear.ts";

/** The number of experts, under the name of older configs or that of newer ones. */
export const expertCountFields = { num_experts: count.nullish(), num_local_experts: count.nullish() };

/** The field of them that a config has, and what it says; 0 where it has none, which no router takes. */
export function expertCount({ num_experts, num_local_experts }: z.output<z.ZodObject<typeof expertCountFields>>): {
  readonly field: string;
  readonly size: Size;
} {
  const field = num_experts == null && num_local_experts != null ? "num_local_experts" : "num_experts";
  return { field, size: sizeOfField(field, num_experts ?? num_local_experts ?? 0) };
}

/** How tokens find their experts. */
export interface RouterSpec {
  readonly width: Size;
  readonly experts: Size;
  /** Experts of a token. */
  readonly top: number;
  /** What logits become before experts are chosen: shares that add up to 1, or each a number of its own. */
  readonly scores: "softmax" | "sigmoid";
  /** The weights of a token's experts are divided by their sum plus `floor`. */
  readonly normalise: boolean;
  readonly floor?: number;
  /** Factor on all weights. */
  readonly scale?: number;
  readonly groups?: ExpertGroups | undefined;
  /** `e_score_correction_bias` is added to scores where experts are chosen, not where they are weighted. */
  readonly correction?: boolean;
}

/** The experts of every token. */
type Routed = Omit<Mixture, "outputs">;

/** Finds the experts of every token, with their weights, 0 for those that were not chosen. x: [batch, time, width]. */
export function route(site: Site, x: string, spec: RouterSpec): Routed {
  const { draft } = site;
  const { width, experts, top, normalise, floor = 0, scale = 1 } = spec;
  const { count = 1, best = 1 } = spec.groups ?? {};
  const inGroup = experts.value / count;
  if (
    top > inGroup * best ||
    best > count ||
    !Number.isInteger(inGroup) ||
    (spec.groups?.rank === "two best" && inGroup < 2)
  ) {
    const groups = spec.groups === undefined ? "" : ` in ${best} of ${count} groups`;
    const message = `expected ${top} experts to choose from for each token, got ${experts.value}${groups}.`;
    throw new EspalierError("format", `config.json: ${site.path}`, message, "The config is damaged; fetch it again.");
  }
  const logits = linear(site, x, { inputs: width, outputs: experts });
  site.isRouter("weight");
  const scores =
    spec.scores === "softmax" ? draft.op("Softmax", [logits], { axis: int(-1) }) : draft.op("Sigmoid", [logits]);
  let choice = scores;
  if (spec.correction === true) choice = site.add(choice, site.parameter("e_score_correction_bias", [experts]));
  const corrected = choice;
  if (spec.groups !== undefined) choice = withinGroups(site, choice, experts.value, spec.groups);
  const chosen = largest(site, choice, top);
  let weights = draft.op("Mul", [scores, chosen]);
  if (normalise) {
    const sum = draft.op("ReduceSum", [weights, site.int64([-1])], { keepdims: int(1) });
    weights = draft.op("Div", [weights, floor === 0 ? sum : site.add(sum, site.float(floor))]);
  }
  if (scale !== 1) weights = draft.op("Mul", [weights, site.float(scale)]);
  return { logits, choice: corrected, chosen, weights, top, groups: spec.groups };
}

/** Every expert on every token, weighted and added up. */
export function mixture(site: Site, routed: Routed, experts: number, expert: (index: number) => string): string {
  const shares = split(site, routed.weights, Array<number>(experts).fill(1));
  const outputs = shares.map((_, index) => expert(index));
  site.isMixture({ ...routed, outputs });
  const parts = shares.map((share, index) => site.draft.op("Mul", [outputs[index] ?? "", share]));
  return parts.length === 1 ? (parts[0] ?? "") : site.draft.op("Sum", parts);
}

/** Scores of experts outside the best groups fall below all others. */
function withinGroups(site: Site, choice: string, experts: number, { count, best, rank }: ExpertGroups): string {
  const { draft } = site;
  const apart = site.reshape(choice, [0, 0, count, experts / count]);
  const ranks =
    rank === "best"
      ? draft.op("ReduceMax", [apart, site.int64([-1])], { keepdims: int(0) })
      : draft.op("ReduceSum", [topOf(site, apart, 2).values, site.int64([-1])], { keepdims: int(0) });
  const open = draft.op("Unsqueeze", [largest(site, ranks, best), site.int64([-1])]);
  const inside = draft.op("Where", [site.cast(open, "bool"), apart, site.float(-1e9)]);
  return site.reshape(inside, [0, 0, experts]);
}

/** 1 at the `count` largest numbers of the last axis, 0 elsewhere. */
function largest(site: Site, x: string, count: number): string {
  const { draft } = site;
  const { indices } = topOf(site, x, count);
  const zeros = draft.op("Expand", [site.float(0), draft.op("Shape", [x])]);
  const ones = draft.op("Expand", [site.float(1), draft.op("Shape", [indices])]);
  return draft.op("ScatterElements", [zeros, indices, ones], { axis: int(-1) });
}

function topOf(site: Site, x: string, count: number): { readonly values: string; readonly indices: string } {
  const [values, indices] = [site.draft.fresh("TopK"), site.draft.fresh("TopK_indices")];
  site.draft.op("TopK", [x, site.int64([count])], { axis: int(-1) }, [values, indices]);
  return { values, indices };
}
