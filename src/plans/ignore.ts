import { EspalierError } from "../tensor/error.ts";

/** Matches names against exact names, globs (`*` any run, `?` one character) and `re:` regular expressions of an option. */
export function matcher(patterns: readonly string[], option = "--ignore"): (name: string) => boolean {
  const tests = patterns.map((pattern) => {
    if (!pattern.startsWith("re:")) {
      const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&");
      return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`);
    }
    try {
      return new RegExp(`^(?:${pattern.slice(3)})$`);
    } catch (cause) {
      throw new EspalierError(
        "request",
        `${option} ${pattern}`,
        "expected a regular expression after re:.",
        String(cause),
        {
          cause,
        },
      );
    }
  });
  return (name) => tests.some((test) => test.test(name));
}
