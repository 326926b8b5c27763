import { type LoaderName, loaders, type Model, refuseUncompiled } from "../index.node.ts";
import type { Host } from "./host.ts";
import { withRuntime } from "./shared-options.ts";

/** Has the runtime of each target compile a model before anything is cut. Throws `request` where one does not. */
export async function compileFor(targets: readonly LoaderName[], model: Model, host: Host): Promise<void> {
  for (const target of targets) {
    await withRuntime({ device: loaders[target].device, threads: 1 }, host, (runtime) =>
      refuseUncompiled(runtime, model, target),
    );
  }
}
