import { type Load, loaders, nearestText } from "../index.node.ts";

/** What loaders make of a model, in a few lines: what is new, not what the original has too. */
export function loadText(loads: readonly Load[]): readonly string[] {
  const titles = (verdicts: readonly Load["verdict"][]): string =>
    loads
      .filter(({ verdict }) => verdicts.includes(verdict))
      .map(({ loader }) => loaders[loader].title)
      .join(", ");
  const taken = titles(["loads", "limited"]);
  const lines = taken === "" ? [] : [`By its sizes it loads in ${taken}.`];
  for (const { loader, findings } of loads) {
    for (const finding of findings.filter(({ severity, original }) => severity === "refused" || !original)) {
      const { severity, expected, got, because } = finding;
      const nearest = nearestText(finding);
      const said = severity === "refused" ? "refuses it" : "loads it with limits";
      lines.push(
        `${loaders[loader].title} ${said}: expected ${expected}, got ${got}. ${because}${nearest === "" ? "" : ` ${nearest}.`}`,
      );
    }
  }
  return lines;
}
