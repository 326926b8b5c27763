import { realpath } from "node:fs/promises";
import { basename, resolve } from "node:path";
import type { Graph } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import { bytesOf, type TensorRef } from "../../tensor/tensor.ts";
import { writeWhole } from "../whole-files.node.ts";
import { encodeOnnx, type Place, type Placement } from "./encode.ts";
import { type Piece, pieceLength } from "./message.ts";
import type { OnnxModel } from "./model.ts";

/** Protobuf files end at 2 GiB; the margin is for what a runtime adds when it loads one. */
const largestFile = 2 ** 31 - 16 * 1024 * 1024;

/** Smaller constants stay in the model file, as shape inference wants to see them. */
const smallestExternal = 1024;

/**
 * Writes a model to disk, complete or not at all: under a temporary name first, synced, then renamed. With
 * `externalData`, or above 2 GiB, weights go to `<path>_data` beside it.
 * Throws `request` where the path is a file that the model's weights are still read from, and `file` where the disk
 * refuses; temporary files are then removed.
 */
export async function saveOnnx(
  model: OnnxModel,
  path: string,
  options: { readonly externalData?: boolean | "auto" } = {},
): Promise<void> {
  const target = resolve(path);
  const data = `${target}_data`;
  let pieces = encodeOnnx(model);
  const length = pieces.reduce((sum, piece) => sum + pieceLength(piece), 0);
  const { externalData = "auto" } = options;
  const isExternal = externalData === "auto" ? length > largestFile : externalData;
  await refuseInputs(model.graph, isExternal ? [target, data] : [target]);
  const layout = new Layout(basename(data));
  if (isExternal) pieces = encodeOnnx(model, layout.place);
  // The data first: a model that appears finds its weights.
  const files = isExternal
    ? [
        { path: data, pieces: layout.pieces() },
        { path: target, pieces },
      ]
    : [{ path: target, pieces }];
  await writeWhole(files, path);
}

/** Lays out the data file: pages for what is worth mapping, cache lines for the rest, in the order of the graph. */
class Layout {
  readonly #location: string;
  readonly #pieces: Piece[] = [];
  /** Where bytes lie already, by what holds them: tied weights are written once. */
  readonly #placed = new Map<object, Map<string, Placement>>();
  #end = 0;

  constructor(location: string) {
    this.#location = location;
  }

  readonly place: Place = (_name, ref): Placement => {
    const length = bytesOf(ref);
    if (length < smallestExternal) return { kind: "inline" };
    const holder = ref.resident ?? ref.at?.source ?? ref;
    const key = `${ref.at?.offset ?? 0} ${length}`;
    const known = this.#placed.get(holder)?.get(key);
    if (known !== undefined) return known;
    const alignment = length >= 65536 ? 4096 : 64;
    const offset = Math.ceil(this.#end / alignment) * alignment;
    if (offset > this.#end) this.#pieces.push(new Uint8Array(offset - this.#end));
    this.#pieces.push(ref);
    this.#end = offset + length;
    const placement = { kind: "external", location: this.#location, offset, length } satisfies Placement;
    this.#placed.set(holder, (this.#placed.get(holder) ?? new Map<string, Placement>()).set(key, placement));
    return placement;
  };

  pieces(): readonly Piece[] {
    return this.#pieces;
  }
}

/** Throws `request` where a model's weights are still read from a file that writing it to `target` may replace. */
export function checkTargets(graph: Graph, target: string): Promise<void> {
  return refuseInputs(graph, [target, `${target}_data`]);
}

async function refuseInputs(graph: Graph, targets: readonly string[]): Promise<void> {
  const sources = new Set<string>();
  collectPaths(graph, sources);
  for (const target of targets) {
    const real = await realpath(target).catch(() => target);
    if (sources.has(target) || sources.has(real)) {
      throw new EspalierError(
        "request",
        target,
        "expected an output other than the input, got the file that the weights are read from.",
        "Choose another name; the input is never modified.",
      );
    }
  }
}

function collectPaths(graph: Graph, into: Set<string>): void {
  const add = (ref: TensorRef) => {
    if (ref.at?.source.path !== undefined) into.add(ref.at.source.path);
    if (ref.made !== undefined) add(ref.made.from);
  };
  for (const ref of graph.constants.values()) add(ref);
  for (const node of graph.nodes) {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === "tensor") add(attribute.value);
      else if (attribute.kind === "graph") collectPaths(attribute.value, into);
    }
  }
}
