import {
  type Check,
  dense,
  type Expectation,
  isLoss,
  type Measurement,
  type Verdict,
  verdictOf,
  type Yardstick,
} from "../../claims/reproduction.ts";
import { EspalierError } from "../../tensor/error.ts";
import { mean, meanInterval } from "../../tensor/statistics.ts";

/** What was measured against an expectation, at one share removed, over paired draws. */
export function check(
  expectation: Expectation,
  removed: number,
  measurements: readonly Pick<Measurement, "arm" | "removed" | "accuracy" | "nll" | "further">[],
  by: Yardstick = "accuracy",
): Check {
  const valuesOf = (name: string, yardstick: Yardstick): readonly number[] => {
    const found = measurements.find(({ arm, removed: at }) => arm === name && (at === removed || name === dense));
    if (yardstick === "accuracy") return found?.accuracy ?? [];
    const values = yardstick === "loss" ? found?.nll : found?.further?.[yardstick];
    return (isLoss(yardstick) ? values?.map((loss) => -loss) : values) ?? [];
  };
  const { in: told = by } = expectation;
  const each = typeof told === "string" ? { better: told, than: told } : told;
  const [better, than] = [valuesOf(expectation.better, each.better), valuesOf(expectation.than, each.than)];
  const draws = Math.max(better.length, than.length);
  const differences = Array.from({ length: draws }, (_, i) => {
    return (better[i] ?? better[0] ?? Number.NaN) - (than[i] ?? than[0] ?? Number.NaN);
  });
  const difference = mean(differences);
  const wins = differences.filter((d) => d > 0).length;
  return {
    expectation,
    removed,
    difference,
    interval: draws < 2 ? null : meanInterval(differences),
    wins,
    draws,
    holds: difference >= expectation.by && (expectation.by < 0 || wins === draws),
  };
}

/** The verdict over all expectations; one that was asked for at none of its shares does not hold. */
export function verdictAt(
  expected: readonly Expectation[],
  shares: readonly number[],
  checks: readonly Pick<Check, "holds">[],
): Verdict {
  const untested = expected.filter(({ at }) => !at.some((removed) => shares.includes(removed)));
  return verdictOf([...checks, ...untested.map(() => ({ holds: false }))]);
}

export function unknownArm(name: string, known: readonly string[]): EspalierError {
  return new EspalierError("request", `arm ${name}`, `expected one of ${known.join(", ")}.`);
}

export function noShare(known: readonly number[]): EspalierError {
  return new EspalierError("request", "--at", `expected one of ${known.join(", ")}.`);
}
