// Lets the real Transformers.js go on with texts: node generate.mjs FOLDER PROMPTS-AS-JSON TOKENS DTYPE prints JSON.
import { basename, dirname } from "node:path";
import { env, pipeline } from "@huggingface/transformers";

const [folder = "", prompts = "[]", tokens = "", dtype = ""] = process.argv.slice(2);
env.allowRemoteModels = false;
env.localModelPath = `${dirname(folder)}/`;
const generator = await pipeline("text-generation", basename(folder), dtype === "" ? {} : { dtype });
const options = { max_new_tokens: Number(tokens), do_sample: false };
const textOf = (found) => found[0].generated_text;
const texts = JSON.parse(prompts);
const alone = [];
for (const text of texts) alone.push(textOf(await generator(text, options)));
const together = texts.length === 1 ? alone : (await generator(texts, options)).map(textOf);
await generator.dispose();
process.stdout.write(JSON.stringify({ alone, together, version: env.version }));
