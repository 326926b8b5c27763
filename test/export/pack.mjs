// Packs weightless ONNX files of a folder, and JSON and safetensors files beside them, into one brotli stream: a JSON line
// [[name, bytes], ...], then the files. An ONNX model goes by its name, others by their file names.
// Usage: node test/export/pack.mjs FOLDER OUT
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";

const [folder, out] = process.argv.slice(2);
const names = readdirSync(folder)
  .filter((name) => /\.(onnx|json|safetensors)$/.test(name))
  .sort();
const files = names.map((name) => readFileSync(join(folder, name)));
const index = JSON.stringify(names.map((name, i) => [name.replace(/\.onnx$/, ""), files[i].length]));
const whole = Buffer.concat([Buffer.from(`${index}\n`), ...files]);
const packed = brotliCompressSync(whole, {
  params: {
    [constants.BROTLI_PARAM_QUALITY]: 11,
    [constants.BROTLI_PARAM_LGWIN]: 24,
    [constants.BROTLI_PARAM_SIZE_HINT]: whole.length,
  },
});
writeFileSync(out, packed);
process.stdout.write(`${names.length} files, ${whole.length} bytes, ${packed.length} packed\n`);
