import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "vite";

/** Sizes in bytes, by the names of budgets.json. */
type Sizes = Readonly<Record<"packedBytes" | "unpackedBytes" | "browserGzipBytes", number>>;

/** What is over its budget, one sentence each. */
export function overBudget(sizes: Sizes, budgets: Sizes): readonly string[] {
  return Object.entries(sizes).flatMap(([name, size]) => {
    const budget = Object.entries(budgets).find(([key]) => key === name)?.[1] ?? 0;
    return size <= budget
      ? []
      : [`${name}: expected at most ${budget}, got ${size}. Say why in the commit that raises it.`];
  });
}

/** What users download: the package, and the browser entry bundled without the runtime. */
export async function measureSizes(): Promise<Sizes & { readonly files: readonly string[] }> {
  const [pack] = JSON.parse(
    execFileSync("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }),
  );
  const bundle = await build({
    configFile: false,
    logLevel: "silent",
    build: {
      write: false,
      lib: { entry: "src/index.ts", formats: ["es"] },
      rollupOptions: { external: [/^onnxruntime-/, /^node:/] },
    },
  });
  const output = (Array.isArray(bundle) ? bundle : "output" in bundle ? [bundle] : []).flatMap((one) => one.output);
  // What is imported when it is first needed (tokenizers, Parquet) is paid for by those who need it.
  const chunks = new Map(output.map((file) => [file.fileName, file]));
  const needed = new Set<string>();
  const open = output.filter((file) => file.type === "asset" || file.isEntry).map(({ fileName }) => fileName);
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    const file = chunks.get(name);
    if (file === undefined || needed.has(name)) continue;
    needed.add(name);
    if (file.type === "chunk") open.push(...file.imports);
  }
  let browserGzipBytes = 0;
  for (const name of needed) {
    const file = chunks.get(name);
    if (file !== undefined) browserGzipBytes += gzipSync(file.type === "chunk" ? file.code : file.source).length;
  }
  const files: readonly { readonly path: string }[] = pack.files;
  return {
    packedBytes: pack.size,
    unpackedBytes: pack.unpackedSize,
    browserGzipBytes,
    files: files.map(({ path }) => path),
  };
}

/** Compares the built package with budgets.json; false when something is over or missing. */
export async function checkSizes(): Promise<boolean> {
  const { files, ...sizes } = await measureSizes();
  const problems = [...overBudget(sizes, JSON.parse(readFileSync("budgets.json", "utf8")))];
  for (const file of ["dist/index.js", "dist/index.node.js", "dist/cli/main.js", "README.md", "LICENSE"]) {
    if (!files.includes(file)) problems.push(`${file}: expected in the package, got none. Run npm run build.`);
  }
  const strange = files.filter((file) => /\.test\.|^(src|test|examples)\//.test(file));
  if (strange.length > 0) problems.push(`${strange.slice(0, 5).join(", ")}: expected outside the package.`);
  for (const [name, size] of Object.entries(sizes)) console.log(`${name}: ${size}`);
  for (const problem of problems) console.error(problem);
  return problems.length === 0;
}
