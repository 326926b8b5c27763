/** Starts the worker and leaves its answer where the test finds it. */
const answer = new Promise<unknown>((resolve) => {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  worker.onmessage = ({ data }: MessageEvent<unknown>) => resolve(data);
  worker.onerror = ({ message, filename, lineno }) => resolve({ failure: `${message} (${filename}:${lineno})` });
});

Object.assign(globalThis, { answer });
