import { openRuntime } from "../../src/runtime/open-runtime.node.ts";
import { pruneOn } from "./job.ts";
import { trainOn } from "./train-job.ts";

/**
 * Entry of a process of its own, since the driver is chosen by its environment. The argument is the job; the answer is one
 * line of JSON.
 */
const runtime = await openRuntime({ device: "webgpu", threads: 1, worker: false });
const outcomes = process.argv[2] === "train" ? await trainOn(runtime) : await pruneOn(runtime);
await runtime.close();
process.stdout.write(`${JSON.stringify(outcomes)}\n`);
