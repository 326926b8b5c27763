import { modelOf, type Place } from "../../formats/onnx/encode.ts";
import { encodeToBytes } from "../../formats/onnx/write.ts";
import type { Graph } from "../../graph/graph.ts";
import { bytesOf, load, type TensorRef } from "../../tensor/tensor.ts";
import type { PackedModel } from "../engine.ts";

/** Where the runtime finds a file: a folder, and the way from it to the file. Null when it cannot map it. */
export type Locate = (path: string) => Promise<{ readonly folder: string; readonly file: string } | null>;

/** Up to this, a weight goes into the model's own bytes: the ONNX reader has it in memory anyway. */
const inlineBytes = 16 * 1024;
/** The runtime reads integers while it infers shapes, so most of them are at hand. */
const inlineIntegerBytes = 64 * 1024;
/** Protocol buffers end at 2 GiB; this leaves room for the nodes. */
const maxInlineBytes = 1.5 * 2 ** 30;

/** True for tensors that belong into the model's own bytes. */
function isSmall(ref: TensorRef): boolean {
  if (ref.dtype === "string") return true;
  return bytesOf(ref) <= (ref.dtype === "i64" || ref.dtype === "i32" ? inlineIntegerBytes : inlineBytes);
}

/**
 * ONNX bytes of a graph without its large weights. Those in files are mapped where `locate` allows; those in memory are
 * given as buffers, without a copy. The runtime refuses both at once (1.30), so where a graph has both, the cheaper
 * half goes the other way: files are read into buffers, or buffers are written into the model's own bytes.
 */
export async function pack(graph: Graph, locate?: Locate): Promise<PackedModel> {
  const { folder, files, mapped, resident } = await survey(graph, locate);
  // Bytes in the model's own bytes are copied twice: into them, and out of them.
  const inlineResident = mapped > 2 * resident && resident < maxInlineBytes;
  const mapping = mapped > 0 && (resident === 0 || inlineResident);
  const buffers = new Map<Uint8Array | TensorRef, string>();
  const place: Place = (_name, ref) => {
    if (isSmall(ref) || (mapping && ref.resident !== undefined)) return { kind: "inline" };
    const length = bytesOf(ref);
    const file = fileOf(ref, files);
    if (mapping && file !== undefined) return { kind: "external", location: file, offset: ref.at?.offset ?? 0, length };
    if (mapping) return { kind: "inline" };
    const key = ref.resident ?? ref;
    const location = buffers.get(key) ?? `espalier-weight-${buffers.size}`;
    buffers.set(key, location);
    return { kind: "external", location, offset: 0, length };
  };
  const bytes = await encodeToBytes(modelOf(graph), place);
  const external: { path: string; data: Uint8Array }[] = [];
  for (const [key, path] of buffers) {
    const data = key instanceof Uint8Array ? key : (await load(key)).bytes;
    external.push({ path, data: data.buffer instanceof ArrayBuffer ? data : new Uint8Array(data) });
  }
  return { bytes, external, ...(mapping ? { folder } : {}) };
}

interface Survey {
  readonly folder: string;
  /** Ways from the folder to the files below it, by path. */
  readonly files: ReadonlyMap<string, string>;
  /** Bytes of large weights that can be mapped, and of all other large weights. */
  readonly mapped: number;
  readonly resident: number;
}

async function survey(graph: Graph, locate: Locate | undefined): Promise<Survey> {
  const weights = largeWeights(graph);
  const bytesIn = new Map<string, number>();
  const located = new Map<string, { readonly folder: string; readonly file: string } | null>();
  for (const ref of weights) {
    const path = ref.resident === undefined ? ref.at?.source.path : undefined;
    if (path === undefined || locate === undefined) continue;
    const place = located.get(path) ?? (await locate(path));
    located.set(path, place);
    if (place !== null) bytesIn.set(place.folder, (bytesIn.get(place.folder) ?? 0) + bytesOf(ref));
  }
  let folder = "";
  for (const [candidate, bytes] of bytesIn) if (bytes > (bytesIn.get(folder) ?? 0)) folder = candidate;
  const files = new Map<string, string>();
  for (const [path, place] of located) if (place?.folder === folder) files.set(path, place.file);
  let mapped = 0;
  let resident = 0;
  for (const ref of weights) {
    if (fileOf(ref, files) === undefined) resident += bytesOf(ref);
    else mapped += bytesOf(ref);
  }
  return { folder, files, mapped, resident };
}

/** The file to map a weight from; undefined when its bytes are in memory, elsewhere, or not all of them in one piece. */
function fileOf(ref: TensorRef, files: ReadonlyMap<string, string>): string | undefined {
  if (ref.resident !== undefined || ref.at === undefined || ref.at.length !== bytesOf(ref)) return undefined;
  return files.get(ref.at.source.path ?? "");
}

function largeWeights(graph: Graph, into: TensorRef[] = []): TensorRef[] {
  for (const ref of graph.constants.values()) if (!isSmall(ref)) into.push(ref);
  for (const node of graph.nodes) {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === "graph") largeWeights(attribute.value, into);
    }
  }
  return into;
}
