import { createServer, type Server } from "node:http";
import { extname } from "node:path";

const types: ReadonlyMap<string, string> = new Map([
  [".html", "text/html"],
  [".js", "text/javascript"],
  [".mjs", "text/javascript"],
  [".wasm", "application/wasm"],
]);

/** Serves files on a loopback port with the headers that make a page cross-origin isolated. */
export async function serve(
  files: ReadonlyMap<string, string | Uint8Array>,
): Promise<{ readonly url: string; readonly requested: readonly string[]; close(): Promise<void> }> {
  const requested: string[] = [];
  const server: Server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    const name = path === "/" ? "/index.html" : path;
    requested.push(name);
    const body = files.get(name);
    response.writeHead(body === undefined ? 404 : 200, {
      "content-type": types.get(extname(name)) ?? "application/octet-stream",
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
      "cross-origin-resource-policy": "same-origin",
    });
    response.end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("expected a port.");
  return {
    url: `http://127.0.0.1:${address.port}/`,
    requested,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
