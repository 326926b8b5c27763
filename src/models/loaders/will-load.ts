import { EspalierError } from "../../tensor/error.ts";
import type { Breach, Rule, Severity } from "./loader.ts";
import type { LoadSizes } from "./sizes.ts";
import { type LoaderName, loaderNames, loaders } from "./table.ts";

/** A rule that sizes do not keep, with the nearest sizes that keep it. */
export interface Finding {
  readonly severity: Severity;
  readonly expected: string;
  readonly got: string;
  readonly because: string;
  /** By field, values below and above that keep every rule about it, up to what the original has; empty where none does. */
  readonly nearest: Readonly<Record<string, readonly number[]>>;
  /** The original does not keep it either. */
  readonly original: boolean;
}

/** What a loader makes of a model. */
export interface Load {
  readonly loader: LoaderName;
  /** The version that its rules were read from. */
  readonly version: string;
  readonly reads: "checkpoint" | "onnx";
  readonly verdict: "loads" | Severity;
  readonly findings: readonly Finding[];
}

/** What every loader, or some of them, would say to sizes. `original` are those before pruning. */
export function willLoad(
  sizes: LoadSizes,
  original: LoadSizes,
  names: readonly LoaderName[] = loaderNames,
): readonly Load[] {
  return names.map((name) => {
    const { version, reads, rules } = loaders[name];
    const loses = losesMore(rules, original);
    const findings = rules.flatMap((rule) => {
      const before = new Set(rule.breaches(original).map(keyOf));
      return rule.breaches(sizes).map((breach): Finding => {
        const { severity, expected, because } = rule;
        const nearest = nearestOf(loses, breach, sizes, original);
        return { severity, expected, got: breach.got, because, nearest, original: before.has(keyOf(breach)) };
      });
    });
    const worst = findings.some(({ severity }) => severity === "refused") ? "refused" : "limited";
    return { loader: name, version, reads, verdict: findings.length === 0 ? "loads" : worst, findings };
  });
}

/** Throws `request` where a loader would refuse the model, with the nearest sizes that it takes. */
export function refuseUnloadable(loads: readonly Load[], where: string): void {
  for (const { loader, findings } of loads) {
    const refused = findings.find(({ severity }) => severity === "refused");
    if (refused === undefined) continue;
    const { expected, got, because } = refused;
    const sizes = nearestText(refused);
    const hint = sizes === "" ? "Name another --target, or leave it out." : `${sizes}.`;
    const message = `expected ${expected}, got ${got}. ${because}`;
    throw new EspalierError("request", `${where}: --target ${loader}`, message, hint);
  }
}

/** The nearest sizes as a sentence says them; empty where there are none. */
export function nearestText({ nearest }: Finding): string {
  const fields = Object.entries(nearest).filter(([, values]) => values.length > 0);
  if (fields.length === 0) return "";
  return `The nearest that it takes: ${fields.map(([field, values]) => `${field} = ${values.join(" or ")}`).join(", or ")}`;
}

/** Values that a field takes together with those that move with it; undefined where one would be no whole number. */
function movedTo(way: readonly string[], to: number, sizes: LoadSizes): ReadonlyMap<string, number> | undefined {
  const [field = ""] = way;
  const from = largest(sizes, field);
  const moved = way.map((each) => [each, (largest(sizes, each) * to) / from] as const);
  return moved.every(([, value]) => Number.isInteger(value) && value > 0) ? new Map(moved) : undefined;
}

/** Tells whether sizes break a rule in a way that the original does not; of a field alone where one is given. */
export type LosesMore = (sizes: LoadSizes, field?: string) => boolean;

export function losesMore(rules: readonly Rule[], original: LoadSizes): LosesMore {
  const before = rules.map((rule) => new Set(rule.breaches(original).map(keyOf)));
  return (sizes, field) =>
    rules.some((rule, i) =>
      rule
        .breaches(sizes)
        .some(
          (breach) =>
            (field === undefined || breach.ways.some((way) => way.includes(field))) &&
            before[i]?.has(keyOf(breach)) !== true,
        ),
    );
}

function nearestOf(loses: LosesMore, { ways }: Breach, sizes: LoadSizes, original: LoadSizes): Finding["nearest"] {
  const found: [string, readonly number[]][] = [];
  for (const way of ways) {
    const [field = ""] = way;
    const most = largest(original, field);
    const keeps = (to: number): boolean => {
      const changes = movedTo(way, to, sizes);
      return changes !== undefined && !loses(sizes.at(changes), field);
    };
    const values = sizes.fields.get(field) ?? [];
    let below = Math.min(...values);
    while (below > 0 && !keeps(below)) below--;
    let above = Math.max(...values);
    while (above <= most && !keeps(above)) above++;
    const both = new Set([...(below > 0 ? [below] : []), ...(above <= most ? [above] : [])]);
    if (both.size > 0) found.push([field, [...both]]);
  }
  return Object.fromEntries(found);
}

/** What a breach is about. */
function keyOf({ ways, got }: Breach): string {
  return ways.length === 0 ? got : ways.map((way) => way.join(" ")).join(", ");
}

function largest({ fields }: LoadSizes, field: string): number {
  return Math.max(...(fields.get(field) ?? [0]));
}
