import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { Attribute, Graph, Node, ValueInfo } from "../graph/graph.ts";
import type { DType } from "../tensor/dtype.ts";
import type { TensorRef } from "../tensor/tensor.ts";

type Placement =
  | { readonly kind: "inline" }
  | { readonly kind: "external"; readonly location: string; readonly offset: number; readonly length: number };
type Place = (name: string, ref: TensorRef) => Placement;

const codes: Partial<Record<DType, number>> = {
  f32: 1,
  u8: 2,
  i8: 3,
  u16: 4,
  i16: 5,
  i32: 6,
  i64: 7,
  string: 8,
  bool: 9,
  f16: 10,
  f64: 11,
  u32: 12,
  u64: 13,
  bf16: 16,
};

export function modelOf(graph: Graph): Graph {
  return graph;
}

export function encodeOnnx(graph: Graph, place: Place): readonly (Uint8Array | TensorRef)[] {
  const w = new BinaryWriter();
  w.tag(1, 0).int64(8);
  w.tag(7, 2).bytes(graphBytes(graph, place));
  for (const [domain, version] of graph.opsets) {
    const o = new BinaryWriter();
    o.tag(1, 2).string(domain);
    o.tag(2, 0).int64(version);
    w.tag(8, 2).bytes(o.finish());
  }
  return [w.finish()];
}

function graphBytes(graph: Graph, place: Place): Uint8Array {
  const w = new BinaryWriter();
  for (const node of graph.nodes) w.tag(1, 2).bytes(nodeBytes(node, place));
  w.tag(2, 2).string(graph.name);
  for (const [name, ref] of graph.constants) w.tag(5, 2).bytes(tensorBytes(name, ref, place));
  for (const v of graph.inputs) w.tag(11, 2).bytes(info(v));
  for (const v of graph.outputs) w.tag(12, 2).bytes(info(v));
  return w.finish();
}
function info(v: ValueInfo): Uint8Array {
  const w = new BinaryWriter();
  w.tag(1, 2).string(v.name);
  if (v.dtype === null) return w.finish();
  const t = new BinaryWriter();
  t.tag(1, 0).int32(codes[v.dtype] ?? 0);
  if (v.dims !== undefined) {
    const s = new BinaryWriter();
    for (const d of v.dims) {
      const e = new BinaryWriter();
      if (typeof d === "number") e.tag(1, 0).int64(d);
      if (typeof d === "string") e.tag(2, 2).string(d);
      s.tag(1, 2).bytes(e.finish());
    }
    t.tag(2, 2).bytes(s.finish());
  }
  const p = new BinaryWriter();
  p.tag(1, 2).bytes(t.finish());
  w.tag(2, 2).bytes(p.finish());
  return w.finish();
}
function tensorBytes(name: string, ref: TensorRef, place: Place): Uint8Array {
  const w = new BinaryWriter();
  for (const d of ref.shape) w.tag(1, 0).int64(d);
  w.tag(2, 0).int32(codes[ref.dtype] ?? 0);
  w.tag(8, 2).string(name);
  const p = place(name, ref);
  if (p.kind === "inline") w.tag(9, 2).bytes(ref.resident ?? new Uint8Array(0));
  else {
    for (const [k, v] of [
      ["location", p.location],
      ["offset", `${p.offset}`],
      ["length", `${p.length}`],
    ] as const) {
      const e = new BinaryWriter();
      e.tag(1, 2).string(k);
      e.tag(2, 2).string(v);
      w.tag(13, 2).bytes(e.finish());
    }
    w.tag(14, 0).int32(1);
  }
  return w.finish();
}
function nodeBytes(n: Node, place: Place): Uint8Array {
  const w = new BinaryWriter();
  for (const i of n.inputs) w.tag(1, 2).string(i);
  for (const i of n.outputs) w.tag(2, 2).string(i);
  w.tag(3, 2).string(n.name);
  w.tag(4, 2).string(n.op);
  for (const [name, a] of n.attributes) w.tag(5, 2).bytes(attr(name, a, place));
  w.tag(7, 2).string(n.domain);
  return w.finish();
}
function attr(name: string, a: Attribute, place: Place): Uint8Array {
  const w = new BinaryWriter();
  w.tag(1, 2).string(name);
  const kinds = { float: 1, int: 2, string: 3, tensor: 4, graph: 5, floats: 6, ints: 7, strings: 8, opaque: 0 };
  w.tag(20, 0).int32(kinds[a.kind]);
  if (a.kind === "float") w.tag(2, 5).float(a.value);
  if (a.kind === "int") w.tag(3, 0).int64(a.value);
  if (a.kind === "string") w.tag(4, 2).string(a.value);
  if (a.kind === "tensor") w.tag(5, 2).bytes(tensorBytes("", a.value, () => ({ kind: "inline" })));
  if (a.kind === "graph") w.tag(6, 2).bytes(graphBytes(a.value, place));
  if (a.kind === "floats") for (const f of a.value) w.tag(7, 5).float(f);
  if (a.kind === "ints") for (const f of a.value) w.tag(8, 0).int64(f);
  if (a.kind === "strings") for (const f of a.value) w.tag(9, 2).string(f);
  return w.finish();
}
