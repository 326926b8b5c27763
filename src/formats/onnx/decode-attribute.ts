import type { Attribute, Graph } from "../../graph/graph.ts";
import { decodeTensor } from "./decode-tensor.ts";
import type { Decoding } from "./decoding.ts";
import { Fields, textOf } from "./fields.ts";

/** AttributeProto.AttributeType of the kinds that espalier looks into. */
export const attributeType = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
} as const;

/** Longer texts and lists are tables or programs of one operator; they stay bytes. */
const longestText = 1 << 20;
const longestList = 1 << 22;

const largest = 2n ** 63n - 1n;

/** An integer as files hold it: JavaScript's 2^63, which stands for "to the end" in slices, is 2^63 - 1 there. */
export function toInt64(value: number): bigint {
  if (value >= 2 ** 63) return largest;
  if (value <= -(2 ** 63)) return -largest - 1n;
  return BigInt(Math.trunc(value));
}

/** Reads an AttributeProto as name and value. Files before IR version 2 leave the type out; it is then inferred. */
export function decodeAttribute(
  f: Fields,
  decoding: Decoding,
  decodeGraph: (fields: Fields) => Graph,
): readonly [string, Attribute] {
  decoding.count(8);
  let name = "";
  let type = 0;
  let isReference = false;
  let float = 0;
  let int = 0n;
  let text = new Uint8Array(0);
  let tensor: Fields | undefined;
  let graph: Fields | undefined;
  const floats: number[] = [];
  const ints: bigint[] = [];
  const strings: Uint8Array[] = [];
  const unknown: Uint8Array[] = [];
  let inferred = 0;
  let listLength = 0;
  const start = f.from;
  while (f.next()) {
    const { field } = f;
    if (field === 1) name = f.string();
    else if (field === 20) type = f.integer();
    else if (field === 21) isReference = f.from < f.to;
    else if (field === 13) unknown.push(f.raw());
    else if (field === 2) [float, inferred] = [f.float(), attributeType.float];
    else if (field === 3) [int, inferred] = [f.int64(), attributeType.int];
    else if (field === 4) [text, inferred] = [new Uint8Array(f.bytes()), attributeType.string];
    else if (field === 5) [tensor, inferred] = [f.message(), attributeType.tensor];
    else if (field === 6) [graph, inferred] = [f.message(), attributeType.graph];
    else if (field === 7 || field === 8 || field === 9) {
      inferred = field - 1;
      listLength += field === 9 ? 1 : f.to - f.from;
      if (listLength > longestList * 10) continue;
      if (field === 7) for (const value of f.floats()) floats.push(value);
      else if (field === 8) f.varints(() => ints.push((BigInt(f.high | 0) << 32n) | BigInt(f.low)));
      else strings.push(f.bytes());
    } else if (field === 10 || field === 11 || field === 14 || field === 15 || field === 22 || field === 23) {
      inferred = -1;
    } else unknown.push(f.raw());
  }
  const rest = unknown.length > 0 ? { unknown } : {};
  const opaque = (): readonly [string, Attribute] => [
    name,
    { kind: "opaque", value: allButName(new Fields(f.spans, start, f.end)) },
  ];
  if (isReference) return opaque();
  switch (type === 0 ? inferred : type) {
    case attributeType.float:
      return [name, { kind: "float", value: float, ...rest }];
    case attributeType.int:
      return isExact(int) ? [name, { kind: "int", value: Number(int), ...rest }] : opaque();
    case attributeType.string: {
      const value = text.length > longestText ? undefined : textOf(text);
      return value === undefined ? opaque() : [name, { kind: "string", value, ...rest }];
    }
    case attributeType.tensor:
      if (tensor === undefined) return opaque();
      return [name, { kind: "tensor", value: decodeTensor(tensor, decoding).ref, ...rest }];
    case attributeType.graph:
      return graph === undefined ? opaque() : [name, { kind: "graph", value: decodeGraph(graph), ...rest }];
    case attributeType.floats:
      return floats.length > longestList ? opaque() : [name, { kind: "floats", value: floats, ...rest }];
    case attributeType.ints:
      if (ints.length > longestList || !ints.every(isExact)) return opaque();
      return [name, { kind: "ints", value: ints.map(Number), ...rest }];
    case attributeType.strings: {
      decoding.count(strings.length);
      const value = strings.map((bytes) => (bytes.length > longestText ? undefined : textOf(bytes)));
      const texts = value.filter((one) => one !== undefined);
      return texts.length < value.length ? opaque() : [name, { kind: "strings", value: texts, ...rest }];
    }
    default:
      return opaque();
  }
}

/** The function attribute that an opaque attribute stands for, or undefined. */
export function referenceOf(attribute: Attribute): string | undefined {
  if (attribute.kind !== "opaque") return undefined;
  const f = Fields.of("attribute", attribute.value);
  let reference: string | undefined;
  while (f.next()) if (f.field === 21) reference = f.string();
  return reference === "" ? undefined : reference;
}

/** The fields of an attribute but its name, which the key of the attribute map says. */
function allButName(f: Fields): Uint8Array {
  const kept: Uint8Array[] = [];
  let length = 0;
  while (f.next()) {
    if (f.field === 1) continue;
    const bytes = f.spans.view(f.tagAt, f.to);
    kept.push(bytes);
    length += bytes.length;
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const bytes of kept) {
    all.set(bytes, at);
    at += bytes.length;
  }
  return all;
}

function isExact(value: bigint): boolean {
  return toInt64(Number(value)) === value;
}
