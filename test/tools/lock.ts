/** The part of package-lock.json that says which packages belong to which platform. */
export interface Lock {
  readonly packages: Readonly<Record<string, LockEntry>>;
}

interface LockEntry {
  readonly version?: string;
  readonly dev?: boolean;
  readonly optional?: boolean;
  readonly cpu?: readonly string[];
  readonly os?: readonly string[];
  readonly libc?: readonly string[];
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

const systems = /(?:^|[-/])(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)(musl)?-/;

/**
 * Adds an entry for every optional package that the lock names but does not hold. npm leaves out the packages of
 * platforms that its registry could not give, and `npm ci` then refuses the lock everywhere. Platforms are read from
 * names such as `@rollup/rollup-linux-arm64-musl`; throws for a name that says none.
 */
export function completeLock<L extends Lock>(lock: L): { readonly lock: L; readonly added: readonly string[] } {
  const packages: Record<string, LockEntry> = { ...lock.packages };
  const added: string[] = [];
  for (const [path, entry] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
      if (resolves(packages, path, name)) continue;
      const at = `node_modules/${name}`;
      added.push(at);
      packages[at] = { version, ...platformOf(name), ...(entry.dev === true ? { dev: true } : {}), optional: true };
    }
  }
  const [root = "", ...paths] = Object.keys(packages).sort();
  const sorted = Object.fromEntries([root, ...paths].map((path) => [path, packages[path] ?? {}]));
  return { lock: added.length === 0 ? lock : { ...lock, packages: sorted }, added };
}

/** Whether a package at `path` finds `name` as Node would: beside it, or beside one of those around it. */
function resolves(packages: Readonly<Record<string, LockEntry>>, path: string, name: string): boolean {
  for (let from = path; ; from = from.slice(0, Math.max(0, from.lastIndexOf("/node_modules/")))) {
    if (packages[`${from === "" ? "" : `${from}/`}node_modules/${name}`] !== undefined) return true;
    if (from === "") return false;
  }
}

function platformOf(name: string): Pick<LockEntry, "cpu" | "os" | "libc"> {
  const system = systems.exec(name);
  const [cpu = ""] = name.slice((system?.index ?? 0) + (system?.[0].length ?? 0)).split("-");
  if (system?.[1] === undefined || cpu === "") throw new Error(`${name}: expected a platform in the name, got none`);
  const musl = system[2] !== undefined || /musl/.test(name);
  const libc = system[1] === "linux" ? { libc: [musl ? "musl" : "glibc"] } : {};
  return { cpu: [cpu], ...libc, os: [system[1]] };
}
