import { fileURLToPath } from "node:url";
import { build, type Plugin, type Rollup } from "vite";

/** A built page: file contents by path. */
export interface Bundle {
  readonly files: ReadonlyMap<string, string | Uint8Array>;
  /** Ids of modules of Node that something asked for, and who asked. */
  readonly nodeImports: readonly string[];
}

/** Bundles the page in `test/browser/page` in memory, the way a user's project would. */
export async function bundlePage(root = fileURLToPath(new URL("./page", import.meta.url))): Promise<Bundle> {
  const nodeImports: string[] = [];
  const watch = (): Plugin => ({
    name: "notice-node",
    enforce: "pre",
    resolveId(id, importer) {
      // onnxruntime-web reaches for Node behind a check of where it runs; only the project's own sources count.
      if (id.startsWith("node:") && importer?.includes("node_modules") !== true) nodeImports.push(`${importer}: ${id}`);
      return null;
    },
  });
  const built = await build({
    configFile: false,
    root,
    logLevel: "error",
    plugins: [watch()],
    resolve: { conditions: ["onnxruntime-web-use-extern-wasm", "module", "browser", "production"] },
    worker: { format: "es", plugins: () => [watch()] },
    build: { write: false, target: "es2023", assetsInlineLimit: 0 },
  });
  const files = new Map<string, string | Uint8Array>();
  for (const { output } of outputsOf(built)) {
    for (const file of output) files.set(`/${file.fileName}`, file.type === "chunk" ? file.code : file.source);
  }
  return { files, nodeImports };
}

function outputsOf(built: Awaited<ReturnType<typeof build>>): readonly Rollup.RollupOutput[] {
  if (Array.isArray(built)) return built;
  return "output" in built ? [built] : [];
}
