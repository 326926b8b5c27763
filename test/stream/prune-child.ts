import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { pruneAlike } from "./endurance.ts";

/** Prunes as a process of its own, which says each step that it comes to: `FROM OUT CRITERION`. */
const [from = "", out = "", criterion = ""] = process.argv.slice(2);
const runtime = await openRuntime({ threads: 1, worker: false });
await pruneAlike(runtime, from, out, criterion, {
  resume: true,
  progress: ({ phase, done }) => process.send?.(`${phase} ${done}`),
});
await runtime.close();
process.disconnect?.();
