// Lets the real Transformers.js go on with texts in a page: /task.json says with which models, and in which forms.
import { env, pipeline } from "@huggingface/transformers";
import mjs from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.mjs?url";
import wasm from "onnxruntime-web/ort-wasm-simd-threaded.asyncify.wasm?url";

env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "/models/";
env.useBrowserCache = false;
env.useWasmCache = false;
Object.assign(env.backends.onnx.wasm, { numThreads: 1, wasmPaths: { mjs, wasm } });

async function work() {
  const { models, prompts, tokens } = await (await fetch("/task.json")).json();
  const texts = [];
  for (const { name, dtype } of models) {
    const generator = await pipeline("text-generation", name, { dtype, device: "wasm" });
    for (const prompt of prompts) {
      const [{ generated_text: text }] = await generator(prompt, { max_new_tokens: tokens, do_sample: false });
      texts.push({ name, dtype, text });
    }
    await generator.dispose();
  }
  return { version: env.version, texts };
}

const answer = work().catch((error) => ({ failure: error instanceof Error ? error.stack : String(error) }));
Object.assign(globalThis, { answer });
