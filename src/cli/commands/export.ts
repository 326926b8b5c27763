import { EspalierError, exportFolder, loadCheckpoint, type WeightForm, weightForms } from "../../index.node.ts";
import { command, flag, string } from "../command.ts";
import { compact, table } from "../table.ts";

export const exportCommand = command({
  name: "export",
  summary: "Write a checkpoint as ONNX in a folder that Transformers.js and ONNX Runtime load.",
  args: ["<checkpoint>"],
  options: {
    out: string("FOLDER", "Where to write: onnx/model.onnx, config and tokenizer."),
    dtype: string(
      "A,B,..",
      `How weights are stored, in a file each: ${weightForms.join(", ")}; fp32 unless told. fp16 is half as large and computes in float32; q8 has 8 bits and also multiplies in 8 bits. The first is loaded unless a client asks for another.`,
    ),
    externalData: flag("Weights lie in files beside the models, as they do above 2 GiB anyway."),
    json: flag("Print the answer as JSON and nothing else on stdout."),
  },
  examples: ["espalier export llama -o llama-onnx", "espalier export llama -o llama-web --dtype q8,fp32"],
  async run([path = ""], { out, dtype, externalData, json }, host) {
    if (out === undefined) {
      throw new EspalierError("request", "-o", "expected a folder to write to, got none.", "Give -o FOLDER.");
    }
    const forms = formsOf(dtype ?? "fp32");
    const model = await loadCheckpoint(path);
    const files = await exportFolder(model, out, {
      forms,
      externalData: externalData ? true : "auto",
      progress: host.progress,
      signal: host.signal,
    });
    if (json) host.print(JSON.stringify({ model: path, out, type: model.type, files }));
    else host.print(table([["file", "bytes"], ...files.map(({ file, bytes }) => [file, compact(bytes)])]));
  },
});

function formsOf(text: string): readonly WeightForm[] {
  const forms = text.split(",").map((name) => weightForms.find((form) => form === name.trim()));
  const known = forms.filter((form) => form !== undefined);
  if (known.length === forms.length && new Set(known).size === known.length) return known;
  const message = `expected some of ${weightForms.join(", ")} with commas between them, got "${text}".`;
  throw new EspalierError("request", "--dtype", message);
}
