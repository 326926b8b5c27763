import { int } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import { edit } from "../../graph/edit.ts";
import type { Graph, Node } from "../../graph/graph.ts";
import { removeDeadCode } from "../../graph/passes/dead-code.ts";
import { onnxNumberOf } from "../../tensor/dtype.ts";
import { float32Tensor, toFloat32 } from "../../tensor/numeric.ts";
import { load, sizeOf, type TensorRef, tensor } from "../../tensor/tensor.ts";
import { type ColumnCodes, columnCodes, zeroCode } from "./column-codes.ts";
import { isLookup, isProduct, isTranspose } from "./uses.ts";

/** Weights with fewer elements stay as they are. */
const fewest = 256;

/**
 * The same graph with matrices of weights in 8 bits, a scale for each output. Products quantise what they multiply as it
 * comes (DynamicQuantizeLinear, MatMulInteger); rows that are looked up are decoded. Weights that are read in any other way
 * stay as they are.
 */
export function inEightBits(graph: Graph): Graph {
  const draft = edit(graph);
  const writing: Writing = { draft, zero: null, quantised: new Map() };
  for (const [name, ref] of graph.constants) {
    if (ref.dtype !== "f32" || ref.shape.length !== 2 || sizeOf(ref.shape) < fewest) continue;
    const uses = usesOf(draft, name);
    if (uses !== null) encode(writing, name, ref, uses);
  }
  return removeDeadCode(draft.finish());
}

interface Writing {
  readonly draft: Draft;
  /** The zero point, once it is written. */
  zero: string | null;
  /** Codes, scale and zero point of values that were quantised, by their names. */
  readonly quantised: Map<string, readonly [codes: string, scale: string, zero: string]>;
}

interface Uses {
  readonly lookups: readonly Node[];
  readonly products: readonly Node[];
  /** The matrix is [outputs, inputs], and its rows are looked up. */
  readonly turned: boolean;
}

/** How a matrix is read; null where one set of codes does not serve all readers. */
function usesOf(draft: Draft, name: string): Uses | null {
  const readers = draft.consumers(name);
  const lookups = readers.filter((node) => isLookup(node, name));
  const direct = readers.filter((node) => isProduct(node, name));
  const transposes = readers.filter(isTranspose);
  if (lookups.length + direct.length + transposes.length < readers.length || readers.length === 0) return null;
  if (direct.length > 0) return direct.length === readers.length ? { lookups, products: direct, turned: false } : null;
  const products: Node[] = [];
  for (const { outputs } of transposes) {
    const turned = outputs[0] ?? "";
    const behind = draft.consumers(turned);
    if (!behind.every((node) => isProduct(node, turned))) return null;
    products.push(...behind);
  }
  return { lookups, products, turned: true };
}

function encode(writing: Writing, name: string, ref: TensorRef, { lookups, products, turned }: Uses): void {
  const { draft } = writing;
  const [first = 0, second = 0] = ref.shape;
  const [inputs, outputs] = turned ? [second, first] : [first, second];
  const made = async (): Promise<ColumnCodes> => columnCodes(toFloat32(await load(ref)), inputs, outputs, turned);
  const codes = draft.constant(
    { dtype: "u8", shape: [inputs, outputs], made: { from: ref, by: async () => (await made()).codes } },
    `${name}.codes`,
  );
  const scaleBytes = async (): Promise<Uint8Array> => float32Tensor([outputs], (await made()).scales).bytes;
  const scales = draft.constant(
    { dtype: "f32", shape: [outputs], made: { from: ref, by: scaleBytes } },
    `${name}.scales`,
  );
  for (const node of products) multiply(writing, node, codes, scales);
  for (const node of lookups) decode(draft, node, { codes, scales, width: inputs });
}

/** x · W as (whole numbers of x) · (codes − 128), times both scales. */
function multiply(writing: Writing, node: Node, codes: string, scales: string): void {
  const { draft, quantised } = writing;
  const x = node.inputs[0] ?? "";
  const names = [draft.fresh(`${x}.codes`), draft.fresh(`${x}.scale`), draft.fresh(`${x}.zero`)] as const;
  const known = quantised.get(x) ?? draft.op("DynamicQuantizeLinear", [x], {}, names);
  quantised.set(x, known);
  writing.zero ??= draft.constant(tensor("u8", [], Uint8Array.of(zeroCode)), "zero_code");
  const [whole, scale, zero] = known;
  const sums = draft.op("MatMulInteger", [whole, codes, zero, writing.zero]);
  const float = draft.op("Cast", [sums], { to: int(onnxNumberOf("f32")) });
  const result = draft.op("Mul", [float, draft.op("Mul", [scale, scales])]);
  draft.replaceUses(node.outputs[0] ?? "", result);
  draft.remove(node);
}

/** (codes − 128) · scale of the rows that a lookup asks for: columns of what is stored. */
function decode(
  draft: Draft,
  lookup: Node,
  { codes, scales, width }: { readonly codes: string; readonly scales: string; readonly width: number },
): void {
  const rows = lookup.inputs[1] ?? "";
  const list = draft.op("Reshape", [rows, draft.int64([-1])]);
  const found = draft.op("Transpose", [draft.op("Gather", [codes, list], { axis: int(1) })]);
  const float = draft.op("Cast", [found], { to: int(onnxNumberOf("f32")) });
  const scale = draft.op("Unsqueeze", [draft.op("Gather", [scales, list]), draft.int64([1])]);
  const values = draft.op("Mul", [draft.op("Sub", [float, draft.float32([zeroCode], [])]), scale]);
  const shape = draft.op("Concat", [draft.op("Shape", [rows]), draft.int64([width])], { axis: int(0) });
  draft.replaceUses(lookup.outputs[0] ?? "", draft.op("Reshape", [values, shape]));
  draft.remove(lookup);
}
