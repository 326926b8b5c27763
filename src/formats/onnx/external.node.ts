import { realpath } from "node:fs/promises";
import { dirname, join, resolve, sep } from "node:path";
import { EspalierError } from "../../tensor/error.ts";
import type { ByteSource } from "../../tensor/tensor.ts";
import { fileSource } from "../source/file.node.ts";
import type { Sibling } from "./decoding.ts";
import { quoted } from "./label.ts";
import type { OnnxModel } from "./model.ts";
import { readOnnx } from "./read.ts";

/** Opens an ONNX file and the data files beside it. */
export async function openOnnx(path: string): Promise<OnnxModel> {
  return readOnnx(await fileSource(path), { sibling: siblings(path) });
}

/**
 * Opens the data files of the model at `modelPath`, and nothing else: a location is relative, has no "..", and leads,
 * links resolved, into the folder where the model is listed or where it really lies (a hub's cache links both).
 */
export function siblings(modelPath: string): Sibling {
  const opened = new Map<string, Promise<ByteSource>>();
  return (location) => {
    const known = opened.get(location) ?? openInside(modelPath, location);
    opened.set(location, known);
    return known;
  };
}

async function openInside(modelPath: string, location: string): Promise<ByteSource> {
  const parts = location.split(/[\\/]/);
  const relative = location !== "" && parts[0] !== "" && !/^[A-Za-z]:/.test(location) && !location.includes("\0");
  if (!relative || parts.includes("..")) throw escapes(modelPath, location);
  const path = resolve(modelPath);
  const missing = (cause: unknown): never => {
    throw new EspalierError(
      "file",
      modelPath,
      `expected its data file ${quoted(location)}, got none.`,
      "Put the data file into the model's folder.",
      { cause },
    );
  };
  const target = await realpath(join(dirname(path), ...parts)).catch(missing);
  const listed = await realpath(dirname(path)).catch(missing);
  const real = dirname(await realpath(path).catch(missing));
  if (![listed, real].some((folder) => target.startsWith(folder.endsWith(sep) ? folder : folder + sep))) {
    throw escapes(modelPath, location);
  }
  return fileSource(target);
}

function escapes(modelPath: string, location: string): EspalierError {
  return new EspalierError(
    "format",
    modelPath,
    `expected data files inside the model's folder, got ${quoted(location)}.`,
    "Do not trust this file; or move the data into the folder and export it again.",
  );
}
