import type { Attribute, Graph, Node, ValueInfo } from "../../graph/graph.ts";
import { EspalierError } from "../../tensor/error.ts";
import type { TensorRef } from "../../tensor/tensor.ts";
import { decodeAttribute } from "./decode-attribute.ts";
import { decodeEntry, decodeSparse, decodeTensor, type NamedTensor } from "./decode-tensor.ts";
import type { Decoding } from "./decoding.ts";
import { Fields } from "./fields.ts";
import { quoted } from "./label.ts";
import type { OnnxModel } from "./model.ts";
import { decodeValueInfo } from "./value-info.ts";

/** A model-local function, before it is inlined. */
export interface OnnxFunction {
  readonly name: string;
  readonly domain: string;
  readonly overload: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** Attributes that have a default. */
  readonly defaults: ReadonlyMap<string, Attribute>;
  readonly nodes: readonly Node[];
  readonly opsets: ReadonlyMap<string, number>;
}

/** A model as the file has it: functions not inlined, Constant nodes not lifted, nodes in the file's order. */
export interface RawModel {
  readonly model: OnnxModel;
  readonly functions: readonly OnnxFunction[];
}

/** Each level of subgraphs nests three messages; protobuf itself stops at a hundred. */
const deepestGraph = 32;

export function decodeModel(f: Fields, decoding: Decoding): RawModel {
  let irVersion = 0;
  let producerName = "";
  let producerVersion = "";
  let domain = "";
  let modelVersion = 0n;
  let doc = "";
  let body: Fields | undefined;
  const bodies: Fields[] = [];
  const opsets = new Map<string, number>();
  const metadata = new Map<string, string>();
  const unknown: Uint8Array[] = [];
  while (f.next()) {
    if (f.field === 1) irVersion = f.integer();
    else if (f.field === 2) producerName = f.string();
    else if (f.field === 3) producerVersion = f.string();
    else if (f.field === 4) domain = f.string();
    else if (f.field === 5) modelVersion = f.int64();
    else if (f.field === 6) doc = f.string();
    else if (f.field === 7) body = f.message();
    else if (f.field === 8) addOpset(f.message(), opsets);
    else if (f.field === 14) metadata.set(...decodeEntry(f.message()));
    else if (f.field === 25) bodies.push(f.message());
    else unknown.push(f.raw());
  }
  const { name } = decoding.source;
  if (body === undefined) {
    throw new EspalierError("format", name, "expected an ONNX model, got a file without a graph.", "Check the file.");
  }
  if (irVersion < 1 || irVersion > 1000) {
    throw new EspalierError("format", name, `expected an ONNX IR version, got ${irVersion}.`, "Check the file.");
  }
  // Files before IR version 3 do not name an operator set.
  if (!opsets.has("")) opsets.set("", 1);
  const graph = decodeGraph(body, decoding, opsets, 0);
  return {
    model: { graph, irVersion, producerName, producerVersion, domain, modelVersion, doc, metadata, unknown },
    functions: bodies.map((fields) => decodeFunction(fields, decoding)),
  };
}

/** "ai.onnx" is a long name of the standard domain, "". */
function canonical(domain: string): string {
  return domain === "ai.onnx" ? "" : domain;
}

function addOpset(f: Fields, opsets: Map<string, number>): void {
  let domain = "";
  let version = 0;
  while (f.next()) {
    if (f.field === 1) domain = canonical(f.string());
    else if (f.field === 2) version = f.integer();
  }
  if (version < 1 || version > 100_000) {
    throw new EspalierError("format", `operator set ${quoted(domain)}`, `expected a version, got ${version}.`);
  }
  opsets.set(domain, version);
}

function decodeGraph(f: Fields, decoding: Decoding, opsets: ReadonlyMap<string, number>, depth: number): Graph {
  const where = decoding.source.name;
  if (depth > deepestGraph) {
    throw new EspalierError("format", where, `expected at most ${deepestGraph} nested graphs, got more.`);
  }
  let name = "";
  const inputs: ValueInfo[] = [];
  const outputs: ValueInfo[] = [];
  const nodes: Node[] = [];
  const constants = new Map<string, TensorRef>();
  const valueInfo = new Map<string, ValueInfo>();
  const unknown: Uint8Array[] = [];
  const add = (tensor: NamedTensor) => {
    if (tensor.name === "" || constants.has(tensor.name)) {
      const got = tensor.name === "" ? "one without a name" : `${quoted(tensor.name)} twice`;
      throw new EspalierError("model", where, `expected initializers with distinct names, got ${got}.`);
    }
    constants.set(tensor.name, tensor.ref);
  };
  while (f.next()) {
    if (f.field === 1) nodes.push(decodeNode(f.message(), decoding, opsets, depth));
    else if (f.field === 2) name = f.string();
    else if (f.field === 5) add(decodeTensor(f.message(), decoding));
    else if (f.field === 11) inputs.push(decodeValueInfo(f.message(), decoding));
    else if (f.field === 12) outputs.push(decodeValueInfo(f.message(), decoding));
    else if (f.field === 13) {
      const info = decodeValueInfo(f.message(), decoding);
      valueInfo.set(info.name, info);
    } else if (f.field === 15) add(decodeSparse(f.message(), decoding));
    else unknown.push(f.raw());
  }
  return {
    name,
    // Initializers that are also inputs are defaults that hardly anybody overrides; here they are constants.
    inputs: inputs.filter((input) => !constants.has(input.name)),
    outputs,
    nodes,
    constants,
    opsets,
    valueInfo,
    ...(unknown.length > 0 ? { unknown } : {}),
  };
}

function decodeNode(f: Fields, decoding: Decoding, opsets: ReadonlyMap<string, number>, depth: number): Node {
  decoding.count(16);
  let name = "";
  let op = "";
  let domain = "";
  const inputs: string[] = [];
  const outputs: string[] = [];
  const attributes = new Map<string, Attribute>();
  const unknown: Uint8Array[] = [];
  while (f.next()) {
    if (f.field === 1 || f.field === 2) {
      decoding.count();
      (f.field === 1 ? inputs : outputs).push(f.string());
    } else if (f.field === 3) name = f.string();
    else if (f.field === 4) op = f.string();
    else if (f.field === 5) {
      const attribute = decodeAttribute(f.message(), decoding, (g) => decodeGraph(g, decoding, opsets, depth + 1));
      attributes.set(...attribute);
    } else if (f.field === 7) domain = canonical(f.string());
    else unknown.push(f.raw());
  }
  return { name, domain, op, inputs, outputs, attributes, ...(unknown.length > 0 ? { unknown } : {}) };
}

/** The overload that a node calls; only calls of model-local functions have one. */
export function overloadOf(node: Node): string {
  let overload = "";
  for (const bytes of node.unknown ?? []) {
    const f = Fields.of(node.name, bytes);
    while (f.next()) if (f.field === 8) overload = f.string();
  }
  return overload;
}

function decodeFunction(f: Fields, decoding: Decoding): OnnxFunction {
  let name = "";
  let domain = "";
  let overload = "";
  const inputs: string[] = [];
  const outputs: string[] = [];
  const bodies: Fields[] = [];
  const defaults: Fields[] = [];
  const opsets = new Map<string, number>();
  while (f.next()) {
    decoding.count();
    if (f.field === 1) name = f.string();
    else if (f.field === 4) inputs.push(f.string());
    else if (f.field === 5) outputs.push(f.string());
    else if (f.field === 7) bodies.push(f.message());
    else if (f.field === 9) addOpset(f.message(), opsets);
    else if (f.field === 10) domain = canonical(f.string());
    else if (f.field === 11) defaults.push(f.message());
    else if (f.field === 13) overload = f.string();
  }
  return {
    name,
    domain,
    overload,
    inputs,
    outputs,
    defaults: new Map(
      defaults.map((fields) => decodeAttribute(fields, decoding, (g) => decodeGraph(g, decoding, opsets, 1))),
    ),
    nodes: bodies.map((fields) => decodeNode(fields, decoding, opsets, 0)),
    opsets,
  };
}
