import type { Attribute, Graph, Node, ValueInfo } from "../../graph/graph.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { EspalierError } from "../../tensor/error.ts";
import { bytesOf, formatShape, sizeOf, type TensorRef } from "../../tensor/tensor.ts";
import { attributeType, toInt64 } from "./decode-attribute.ts";
import { irVersionOf } from "./dtypes.ts";
import { Message, type Piece } from "./message.ts";
import type { OnnxModel } from "./model.ts";
import { splitStrings } from "./strings.ts";
import { encodeType } from "./value-info.ts";

/** Where the data of a constant go: into the model file, or into a file beside it. */
export type Placement =
  | { readonly kind: "inline" }
  | {
      readonly kind: "external";
      /** The data file, relative to the model's folder. */
      readonly location: string;
      readonly offset: number;
      readonly length: number;
      readonly checksum?: string;
    };

/** Decides where the data of a constant go. Strings and tensors in attributes are always inline and not asked about. */
export type Place = (name: string, ref: TensorRef) => Placement;

/**
 * The bytes of a model file, in pieces: weights that lie in a file stay references, to be read when they are written.
 * Equal models give equal bytes. IR versions before 4, where initializers must be inputs too, become 4.
 */
export function encodeOnnx(model: OnnxModel, place: Place = () => ({ kind: "inline" })): readonly Piece[] {
  const m = new Message().int(1, Math.max(model.irVersion, 4));
  text(m, 2, model.producerName);
  text(m, 3, model.producerVersion);
  text(m, 4, model.domain);
  if (model.modelVersion !== 0n) m.int(5, model.modelVersion);
  text(m, 6, model.doc);
  m.message(7, encodeGraph(model.graph, place));
  for (const [domain, version] of model.graph.opsets) m.message(8, text(new Message(), 1, domain).int(2, version));
  for (const [key, value] of model.metadata) m.message(14, encodeEntry(key, value));
  return m.raw(model.unknown).pieces();
}

/** A model around a graph, in the oldest IR version that has its operator sets and element types. */
export function modelOf(graph: Graph, irVersion?: number): OnnxModel {
  return {
    graph,
    irVersion: irVersion ?? Math.max(irVersionOfOpset(graph.opsets.get("") ?? 1), newestType(graph)),
    producerName: "espalier",
    producerVersion: "",
    domain: "",
    modelVersion: 0n,
    doc: "",
    metadata: new Map(),
    unknown: [],
  };
}

/** IR version of the ONNX release that brought a version of the standard operator set, 4 at least. */
function irVersionOfOpset(version: number): number {
  const released: readonly (readonly [number, number])[] = [
    [25, 13],
    [24, 12],
    [23, 11],
    [21, 10],
    [19, 9],
    [15, 8],
    [12, 7],
    [11, 6],
    [10, 5],
  ];
  return released.find(([opset]) => version >= opset)?.[1] ?? 4;
}

function newestType(graph: Graph): number {
  let newest = 4;
  for (const { dtype } of graph.constants.values()) newest = Math.max(newest, irVersionOf(dtype));
  for (const { dtype } of [...graph.inputs, ...graph.outputs, ...graph.valueInfo.values()]) {
    if (dtype !== null) newest = Math.max(newest, irVersionOf(dtype));
  }
  for (const node of graph.nodes) {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === "graph") newest = Math.max(newest, newestType(attribute.value));
      else if (attribute.kind === "tensor") newest = Math.max(newest, irVersionOf(attribute.value.dtype));
    }
  }
  return newest;
}

function text(m: Message, field: number, value: string): Message {
  return value === "" ? m : m.string(field, value);
}

function encodeEntry(key: string, value: string): Message {
  return new Message().string(1, key).string(2, value);
}

function encodeGraph(graph: Graph, place: Place): Message {
  const m = new Message();
  for (const node of graph.nodes) m.message(1, encodeNode(node, place));
  text(m, 2, graph.name);
  for (const [name, ref] of graph.constants) m.message(5, encodeTensor(name, ref, place));
  for (const info of graph.inputs) m.message(11, encodeValueInfo(info));
  for (const info of graph.outputs) m.message(12, encodeValueInfo(info));
  for (const info of graph.valueInfo.values()) m.message(13, encodeValueInfo(info));
  return m.raw(graph.unknown);
}

function encodeValueInfo(info: ValueInfo): Message {
  const m = new Message().string(1, info.name);
  const type = encodeType(info);
  if (type !== undefined) m.bytes(2, type);
  return m.raw(info.unknown);
}

function encodeNode(node: Node, place: Place): Message {
  const m = new Message();
  for (const input of node.inputs) m.string(1, input);
  for (const output of node.outputs) m.string(2, output);
  text(m, 3, node.name);
  m.string(4, node.op);
  for (const [name, attribute] of node.attributes) m.message(5, encodeAttribute(name, attribute, place));
  text(m, 7, node.domain);
  return m.raw(node.unknown);
}

function encodeAttribute(name: string, attribute: Attribute, place: Place): Message {
  const m = new Message().string(1, name);
  if (attribute.kind === "opaque") return m.raw([attribute.value]);
  switch (attribute.kind) {
    case "float":
      m.float(2, attribute.value);
      break;
    case "int":
      m.int(3, toInt64(attribute.value));
      break;
    case "string":
      m.string(4, attribute.value);
      break;
    case "tensor":
      m.message(
        5,
        encodeTensor("", attribute.value, () => ({ kind: "inline" })),
      );
      break;
    case "graph":
      m.message(6, encodeGraph(attribute.value, place));
      break;
    case "floats":
      for (const value of attribute.value) m.float(7, value);
      break;
    case "ints":
      for (const value of attribute.value) m.int(8, toInt64(value));
      break;
    case "strings":
      for (const value of attribute.value) m.string(9, value);
      break;
  }
  return m.int(20, attributeType[attribute.kind]).raw(attribute.unknown);
}

function encodeTensor(name: string, ref: TensorRef, place: Place): Message {
  checkLength(name, ref);
  const m = new Message();
  for (const size of ref.shape) m.int(1, size);
  m.int(2, onnxNumberOf(ref.dtype));
  if (ref.dtype === "string") {
    for (const bytes of splitStrings(ref.resident ?? new Uint8Array(0))) m.bytes(6, bytes);
    return text(m, 8, name).raw(ref.unknown);
  }
  const placement = place(name, ref);
  text(m, 8, name);
  if (placement.kind === "inline") return m.tensor(9, ref).raw(ref.unknown);
  const { location, offset, length, checksum } = placement;
  m.message(13, encodeEntry("location", location));
  m.message(13, encodeEntry("offset", String(offset)));
  m.message(13, encodeEntry("length", String(length)));
  if (checksum !== undefined) m.message(13, encodeEntry("checksum", checksum));
  return m.int(14, 1).raw(ref.unknown);
}

/** A tensor whose data do not fill its shape would shift everything behind it in the file. */
function checkLength(name: string, ref: TensorRef): void {
  const isText = ref.dtype === "string";
  const expected = isText ? sizeOf(ref.shape) : bytesOf(ref);
  const got = isText
    ? splitStrings(ref.resident ?? new Uint8Array(0)).length
    : (ref.resident?.length ?? ref.at?.length ?? (ref.made === undefined ? 0 : expected));
  if (got === expected) return;
  throw new EspalierError(
    "shape",
    `constant "${name}"`,
    `expected ${expected} ${isText ? "strings" : "bytes"} for ${formatShape(ref.shape)} of ${ref.dtype}, got ${got}.`,
  );
}
