import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { arrayCollector } from "../array-collector.node.ts";
import type { Engine } from "../engine.ts";
import { openEngine } from "../ort/open-engine.node.ts";
import { failureOf, ownedTensors, type Reply, type Request, type WorkerSettings } from "./worker-messages.ts";

/** Entry of the worker thread: an engine behind messages. It ends by itself when told to close, never in mid-run. */
async function serve(port: MessagePort, settings: WorkerSettings): Promise<void> {
  const { engine, ...opened } = await openEngine(settings.device, settings.threads);
  let collect = (): void => undefined;
  port.on("message", async (request: Request) => {
    // Where sessions give their memory back, so does this thread.
    if (request.call === "create" && request.options.memory === "freed") collect = arrayCollector();
    const transfer: ArrayBuffer[] = [];
    const reply = await answer(engine, request, transfer).catch((cause) => ({ failure: failureOf(cause) }));
    port.postMessage({ ...reply, id: request.id } satisfies Reply, transfer);
    if (request.call === "close") port.close();
    collect();
  });
  port.postMessage({ id: 0, opened } satisfies Reply);
}

async function answer(engine: Engine, request: Request, transfer: ArrayBuffer[]): Promise<Omit<Reply, "id">> {
  switch (request.call) {
    case "create":
      return { session: await engine.create(request.model, request.options) };
    case "outputTypes":
      return { types: await engine.outputTypes(request.model) };
    case "run": {
      const outputs = await engine.run(request.session, request.feeds, request.fetch, request.carried);
      return { outputs: ownedTensors(outputs, transfer) };
    }
    case "createState":
      return { state: await engine.createState() };
    case "setState":
      await engine.setState(request.state, request.tensors);
      return {};
    case "getState": {
      // Copied for the way: the state itself stays here.
      const outputs = await engine.getState(request.state, request.names);
      return { outputs: ownedTensors(outputs, transfer) };
    }
    case "releaseState":
      await engine.releaseState(request.state);
      return {};
    case "measure":
      return { latencies: await engine.measure(request.jobs, request.options) };
    case "release":
      await engine.release(request.session);
      return {};
    case "close":
      await engine.close();
      return {};
  }
}

if (parentPort !== null) {
  const port = parentPort;
  const settings: WorkerSettings = workerData;
  serve(port, settings).catch((cause) => {
    port.postMessage({ id: 0, failure: failureOf(cause) } satisfies Reply);
    port.close();
  });
}
