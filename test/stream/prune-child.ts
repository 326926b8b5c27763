import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { pruneAlike } from "./endurance.ts";

/** Prunes as a process of its own, which says when it begins: `FROM OUT CRITERION`. */
const [from = "", out = "", criterion = ""] = process.argv.slice(2);
process.send?.("begins");
const runtime = await openRuntime({ threads: 1, worker: false });
await pruneAlike(runtime, from, out, criterion, { resume: true });
await runtime.close();
process.disconnect?.();
