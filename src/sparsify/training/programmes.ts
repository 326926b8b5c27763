import { cubic, oneShot } from "../../schedule/sparsity-schedule.ts";
import type { SparsityProgramme } from "./dynamic-sparsity.ts";
import type { Profile, PruneScope } from "./mask-moves.ts";

export interface GradualOptions {
  readonly sparsity: number;
  /** Shares of the run between which sparsity rises. */
  readonly from?: number;
  readonly until?: number;
  readonly scope?: PruneScope;
  readonly changes?: number;
}

/** Gradual magnitude pruning: sparsity rises along a cubic, by magnitude (Zhu and Gupta 2017). */
export function gradualMagnitude(options: GradualOptions): SparsityProgramme {
  const { sparsity, from = 0, until = 0.5, scope = "uniform", changes = 40 } = options;
  return { ramp: { final: sparsity, schedule: cubic, from, until, scope }, changes };
}

/** Everything at once at a point of the run; what is left trains on. */
export function oneCut({
  sparsity,
  at = 0.5,
  scope = "uniform",
}: Pick<GradualOptions, "sparsity" | "scope"> & { readonly at?: number }): SparsityProgramme {
  return { ramp: { final: sparsity, schedule: oneShot, from: at, until: at, scope }, changes: 2 };
}

export interface ExchangeOptions {
  readonly sparsity: number;
  readonly profile?: Profile;
  /** Share of the alive weights that is exchanged at first. */
  readonly share?: number;
  /** Share of the run after which the masks stay. */
  readonly until?: number;
  readonly changes?: number;
}

/** Masks drawn before training that stay as they are. */
export function staticRandom({ sparsity, profile = "erk" }: ExchangeOptions): SparsityProgramme {
  return { start: { sparsity, profile }, changes: 1 };
}

/** SET: the smallest share of each layer is exchanged for places drawn by chance (Mocanu et al. 2018, ζ = 0.3). */
export function set({
  sparsity,
  profile = "erk",
  share = 0.3,
  until = 0.75,
  changes = 40,
}: ExchangeOptions): SparsityProgramme {
  return { start: { sparsity, profile }, regrow: { share: () => share, by: "random", until }, changes };
}

/** RigL: the share falls along a cosine and places are those of the largest gradients (Evci et al. 2020, α = 0.3, T_end = 0.75 T). */
export function rigl({
  sparsity,
  profile = "erk",
  share = 0.3,
  until = 0.75,
  changes = 40,
}: ExchangeOptions): SparsityProgramme {
  const falling = (point: number): number => (share / 2) * (1 + Math.cos((Math.PI * point) / until));
  return { start: { sparsity, profile }, regrow: { share: falling, by: "gradient", until }, changes };
}

export interface GranetOptions extends Omit<GradualOptions, "scope"> {
  /** Sparsity at the start, at random places by ERK; 0 starts dense. */
  readonly initial?: number;
  /** Share of the alive weights that is exchanged at first; it falls along a cosine to 0.005. */
  readonly share?: number;
  readonly scope?: PruneScope;
}

/** GraNet: a global ramp, and after each of its steps an exchange by gradient, to the end (Liu et al. 2021). */
export function granet(options: GranetOptions): SparsityProgramme {
  const { sparsity, initial = 0, share = 0.5, from = 0, until = 0.5, scope = "global", changes = 40 } = options;
  const least = 0.005;
  return {
    ...(initial === 0 ? {} : { start: { sparsity: Math.min(initial, sparsity), profile: "erk" } }),
    ramp: { final: sparsity, schedule: cubic, from, until, scope },
    regrow: {
      share: (point) => least + ((share - least) / 2) * (1 + Math.cos(Math.PI * point)),
      by: "gradient",
      until: 1,
    },
    changes,
  };
}
