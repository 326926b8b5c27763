import { BinaryWriter } from "@bufbuild/protobuf/wire";

/** Where a hand-made file lies about itself. */
export interface Lies {
  /** Dimensions of the first weight, [4, 8] in truth. */
  readonly dims?: readonly (number | bigint)[];
  /** Bytes of the first weight, 128 in truth. */
  readonly bytes?: number;
  /** External data of the first weight. */
  readonly external?: Readonly<Record<string, string>>;
  /** What the first product reads instead of the input: its own result makes a cycle. */
  readonly reads?: string;
  /** Dimensions of the input, [n, 4] in truth. */
  readonly input?: readonly (number | bigint)[];
  /** Element type of the first weight; 1 is f32. */
  readonly type?: number;
  /** Name of the second operator. */
  readonly op?: string;
  /** Extra integer constants and nodes between them: [operator, inputs, output]. */
  readonly integers?: Readonly<Record<string, readonly bigint[]>>;
  readonly nodes?: readonly (readonly [op: string, inputs: readonly string[], output: string])[];
}

const message = (fill: (writer: BinaryWriter) => void): Uint8Array => {
  const writer = new BinaryWriter();
  fill(writer);
  return writer.finish();
};
const field = (writer: BinaryWriter, number: number, bytes: Uint8Array): BinaryWriter =>
  writer.tag(number, 2).bytes(bytes);
const text = (writer: BinaryWriter, number: number, value: string): BinaryWriter => writer.tag(number, 2).string(value);

/** An ONNX file of a two-layer network x·w → Relu → ·v, written field by field so that any of them can be wrong. */
export function handMade(lies: Lies = {}): Uint8Array {
  const { dims = [4, 8], bytes = 128, reads = "x", input = [0, 4], type = 1, op = "Relu" } = lies;
  const graph = message((g) => {
    for (const [kind, inputs, output] of lies.nodes ?? []) field(g, 1, node(kind, inputs, output));
    field(g, 1, node("MatMul", [reads, "w"], "a"));
    field(g, 1, node(op, ["a"], "b"));
    field(g, 1, node("MatMul", ["b", "v"], "y"));
    text(g, 2, "g");
    field(g, 5, tensor("w", dims, bytes, type, lies.external));
    field(g, 5, tensor("v", [8, 3], 96, 1));
    for (const [name, values] of Object.entries(lies.integers ?? {})) field(g, 5, integers(name, values));
    field(g, 11, value("x", input));
    field(g, 12, value("y", [0, 3]));
  });
  return message((m) => {
    m.tag(1, 0).int64(8);
    field(m, 7, graph);
    field(
      m,
      8,
      message((o) => o.tag(2, 0).int64(17)),
    );
  });
}

function node(op: string, inputs: readonly string[], output: string): Uint8Array {
  return message((n) => {
    for (const name of inputs) text(n, 1, name);
    text(n, 2, output);
    text(n, 3, `node_${output}`);
    text(n, 4, op);
  });
}

function tensor(
  name: string,
  dims: readonly (number | bigint)[],
  bytes: number,
  type: number,
  external?: Readonly<Record<string, string>>,
): Uint8Array {
  const values = Float32Array.from({ length: Math.ceil(bytes / 4) }, (_, i) => Math.sin(i + name.length));
  return message((t) => {
    for (const dim of dims) t.tag(1, 0).int64(dim);
    t.tag(2, 0).int32(type);
    text(t, 8, name);
    if (external === undefined) field(t, 9, new Uint8Array(values.buffer, 0, bytes));
    for (const [key, entry] of Object.entries(external ?? {})) {
      field(
        t,
        13,
        message((e) => text(text(e, 1, key), 2, entry)),
      );
    }
    if (external !== undefined) t.tag(14, 0).int32(1);
  });
}

function integers(name: string, values: readonly bigint[]): Uint8Array {
  return message((t) => {
    t.tag(1, 0).int64(values.length);
    t.tag(2, 0).int32(7);
    text(t, 8, name);
    field(t, 9, new Uint8Array(BigInt64Array.from(values).buffer));
  });
}

function value(name: string, dims: readonly (number | bigint)[]): Uint8Array {
  const shape = message((s) => {
    for (const dim of dims) {
      field(
        s,
        1,
        message((d) => (dim === 0 ? text(d, 2, "n") : d.tag(1, 0).int64(dim))),
      );
    }
  });
  const type = message((t) => field(t.tag(1, 0).int32(1), 2, shape));
  return message((v) => {
    text(v, 1, name);
    field(
      v,
      2,
      message((t) => field(t, 1, type)),
    );
  });
}
