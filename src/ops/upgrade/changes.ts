import { floatAttr, int, intAttr, intsAttr, string, stringAttr } from "../../graph/attributes.ts";
import type { Draft } from "../../graph/draft.ts";
import type { Node, TensorType } from "../../graph/graph.ts";
import { fromFloats, fromInts, toFloat64 } from "../../tensor/numeric.ts";
import { load, sizeOf, type TensorRef } from "../../tensor/tensor.ts";

/** What an upgrade sees of its node, and the draft that it changes. */
export interface UpgradeContext {
  readonly draft: Draft;
  readonly node: Node;
  /** The version that the node is written for. */
  readonly opset: number;
  /** Type of an input, where it is known. */
  type(index: number): TensorType | undefined;
  constant(index: number): TensorRef | undefined;
  /** True where somebody reads output i. */
  isRead(index: number): boolean;
  /** Throws `model`: newer operator sets cannot say this, and why. */
  refuse(because: string): never;
}

type Rewrite = (context: UpgradeContext) => void;

/** A form that changed: nodes of an operator set `before` this version are rewritten. */
interface Change {
  readonly before: number;
  readonly rewrite: Rewrite | ((context: UpgradeContext) => Promise<void>);
}

/** Lists of integers (or one integer) that were attributes and became inputs, by the position of the input. */
const listsToInputs =
  (positions: Readonly<Record<string, number>>): Rewrite =>
  ({ draft, node }) => {
    let now = node;
    for (const [name, index] of Object.entries(positions)) {
      const found = now.attributes.get(name);
      if (found === undefined) continue;
      const list = found.kind === "int" ? [found.value] : (intsAttr(now, name, undefined) ?? []);
      now = draft.setAttributes(draft.setInput(now, index, draft.int64(list, [list.length], name)), { [name]: null });
    }
  };

/** A number of the type of input 0. */
function numberLike({ draft, node, type }: UpgradeContext, value: number, name: string): string {
  const dtype = type(0)?.dtype;
  if (dtype === "f32" || dtype === "f64" || dtype === "f16" || dtype === "bf16") {
    return draft.constant(fromFloats(dtype, [], Float64Array.of(value)), name);
  }
  if (dtype === "i64" || dtype === "i32") return draft.constant(fromInts(dtype, [], [value]), name);
  const plain = draft.float32([value], [], name);
  return draft.op("CastLike", [plain, node.inputs[0] ?? ""], {}, draft.fresh(name), { before: node });
}

/** Numbers that were attributes and became inputs of the type of input 0. */
const numbersToInputs =
  (positions: Readonly<Record<string, number>>): Rewrite =>
  (c) => {
    let now = c.node;
    for (const [name, index] of Object.entries(positions)) {
      if (!now.attributes.has(name)) continue;
      const value = numberLike(c, floatAttr(now, name, 0), name);
      now = c.draft.setAttributes(c.draft.setInput(c.draft.current(now), index, value), { [name]: null });
    }
  };

/** Another node of the same outputs in the place of one. */
function replaced(c: UpgradeContext, op: string, inputs: readonly string[], attributes: Node["attributes"]): Node {
  return c.draft.replace(c.node, { ...c.node, op, inputs, attributes });
}

/** Softmax and its relatives ran over all axes from `axis` on; now over one. */
const softmax: Rewrite = (c) => {
  const { draft, node, type } = c;
  const axis = intAttr(node, "axis", 1);
  const rank = type(0)?.shape.length;
  const [x = "", y = ""] = [node.inputs[0], node.outputs[0]];
  const last = new Map([...node.attributes, ["axis", int(-1)]]);
  if (axis === -1 || axis + 1 === rank) {
    replaced(c, node.op, node.inputs, last);
    return;
  }
  const place = { before: node };
  const sizes = draft.op("Shape", [x], {}, draft.fresh(`${y}_sizes`), place);
  const rows = draft.op("Flatten", [x], { axis: int(axis) }, draft.fresh(`${y}_rows`), place);
  const done = draft.fresh(`${y}_flat`);
  draft.add({ ...node, name: done, inputs: [rows], outputs: [done], attributes: last }, place);
  replaced(c, "Reshape", [done, sizes], new Map());
};

/** Sizes were listed in an attribute before 13; without them, parts are counted from 18 on. */
const split: Rewrite = (c) => {
  listsToInputs({ split: 1 })(c);
  const node = c.draft.current(c.node);
  if ((node.inputs[1] ?? "") === "") c.draft.setAttributes(node, { num_outputs: int(node.outputs.length) });
};

const pad: Rewrite = (c) => {
  listsToInputs({ pads: 1 })(c);
  const node = c.draft.current(c.node);
  numbersToInputs({ value: 2 })({ ...c, node });
};

/** Its ratio became an input, its mask, of the data's type before 10, a bool. */
const dropout: Rewrite = (c) => {
  const { draft, node } = c;
  if (c.opset >= 12) return;
  let now = draft.setInput(node, 1, draft.float32([floatAttr(node, "ratio", 0.5)], [], "ratio"));
  now = draft.setAttributes(now, { ratio: null });
  if (c.opset >= 10 || !c.isRead(1)) return;
  const [y = "", mask = ""] = node.outputs;
  const kept = draft.fresh(`${mask}_bool`);
  now = draft.replace(now, { ...now, outputs: [y, kept] });
  draft.op("CastLike", [kept, node.inputs[0] ?? ""], {}, mask, { after: now });
};

/** Several outputs meant training before 14; the saved statistics are gone. */
const batchNorm: Rewrite = (c) => {
  const { draft, node } = c;
  if (c.opset < 9 && intAttr(node, "spatial", 1) === 0) c.refuse("it normalises every position apart (spatial = 0)");
  const trains = c.opset < 14 && node.outputs.slice(1).some((name) => name !== "");
  if (trains && (c.isRead(3) || c.isRead(4))) c.refuse("its saved statistics are read");
  if (!trains && !node.attributes.has("spatial")) return;
  const changed = draft.setAttributes(node, { spatial: null, ...(trains ? { training_mode: int(1) } : {}) });
  if (trains) draft.replace(changed, { ...changed, outputs: changed.outputs.slice(0, 3) });
};

/** Upsample, and Resize before 11, count positions from the corner. */
const fromCorner = (c: UpgradeContext, scales: string, nearest: "floor" | "ceil"): void => {
  const attributes = {
    mode: string(stringAttr(c.node, "mode", "nearest")),
    coordinate_transformation_mode: string("asymmetric"),
    nearest_mode: string(nearest),
  };
  replaced(c, "Resize", [c.node.inputs[0] ?? "", "", scales], new Map(Object.entries(attributes)));
};

const upsample: Rewrite = (c) => {
  const listed = c.node.attributes.get("scales");
  const scales = listed?.kind === "floats" ? c.draft.float32(listed.value, undefined, "scales") : c.node.inputs[1];
  fromCorner(c, scales ?? "", "floor");
};

const resize = async (c: UpgradeContext): Promise<void> => {
  const { draft, node } = c;
  if (c.opset >= 11) {
    // An empty list stood for an absent one.
    const inputs = node.inputs.map((name, i) => (i > 0 && sizeOf(c.type(i)?.shape ?? [1]) === 0 ? "" : name));
    draft.setInputs(node, inputs);
    return;
  }
  // Shrinking took the position above, enlarging the one below.
  const scales = c.constant(1);
  const factors = scales === undefined ? [] : [...toFloat64(await load(scales))];
  const shrinks = factors.some((factor) => factor < 1);
  if (shrinks && factors.some((factor) => factor > 1)) c.refuse("it enlarges one axis and shrinks another");
  fromCorner(c, node.inputs[1] ?? "", shrinks ? "ceil" : "floor");
};

/** Scale and offset of each group become those of each channel: [groups] → [groups, channels/group] → [channels]. */
const groupNorm: Rewrite = ({ draft, node }) => {
  const place = { before: node };
  const y = node.outputs[0] ?? "";
  const groups = draft.int64([intAttr(node, "num_groups", 1)]);
  const bounds = { start: int(1), end: int(2) };
  const channels = draft.op("Shape", [node.inputs[0] ?? ""], bounds, draft.fresh(`${y}_channels`), place);
  const share = draft.op("Div", [channels, groups], {}, draft.fresh(`${y}_share`), place);
  const sizes = draft.op("Concat", [groups, share], { axis: int(0) }, draft.fresh(`${y}_sizes`), place);
  let now = node;
  for (const index of [1, 2]) {
    const name = node.inputs[index] ?? "";
    const column = draft.op("Unsqueeze", [name, draft.int64([1])], {}, draft.fresh(`${name}_column`), place);
    const wide = draft.op("Expand", [column, sizes], {}, draft.fresh(`${name}_wide`), place);
    const flat = draft.op("Reshape", [wide, draft.int64([-1])], {}, draft.fresh(`${name}_channels`), place);
    now = draft.setInput(now, index, flat);
  }
};

/** Across channels or not became a list of axes. */
const meanVariance: Rewrite = (c) => {
  if (intAttr(c.node, "normalize_variance", 1) === 0) c.refuse("it leaves the variance as it is");
  const axes = intAttr(c.node, "across_channels", 0) === 1 ? [0, 1, 2, 3] : [0, 2, 3];
  replaced(c, c.node.op, c.node.inputs, new Map([["axes", { kind: "ints", value: axes }]]));
};

const renamedModes: Readonly<Record<string, string>> = { bilinear: "linear", bicubic: "cubic" };

const axesToInput: Change = { before: 18, rewrite: listsToInputs({ axes: 1 }) };

/** Operators whose form or meaning changed between the versions 7 and 21 of ai.onnx, and how the old one is said now. */
export const changes: Readonly<Record<string, Change | undefined>> = {
  BatchNormalization: { before: 14, rewrite: batchNorm },
  Clip: { before: 11, rewrite: numbersToInputs({ min: 1, max: 2 }) },
  DFT: {
    before: 20,
    rewrite: ({ draft, node }) => {
      const axis = draft.int64([intAttr(node, "axis", 1)], [], "axis");
      draft.setAttributes(draft.setInput(node, 2, axis), { axis: null });
    },
  },
  Dropout: { before: 12, rewrite: dropout },
  GridSample: {
    before: 20,
    rewrite: ({ draft, node }) => {
      const mode = stringAttr(node, "mode", "bilinear");
      draft.setAttributes(node, { mode: string(renamedModes[mode] ?? mode) });
    },
  },
  GroupNormalization: { before: 21, rewrite: groupNorm },
  Hardmax: { before: 13, rewrite: softmax },
  LogSoftmax: { before: 13, rewrite: softmax },
  MeanVarianceNormalization: { before: 9, rewrite: meanVariance },
  Pad: { before: 11, rewrite: pad },
  ReduceL1: axesToInput,
  ReduceL2: axesToInput,
  ReduceLogSum: axesToInput,
  ReduceLogSumExp: axesToInput,
  ReduceMax: axesToInput,
  ReduceMean: axesToInput,
  ReduceMin: axesToInput,
  ReduceProd: axesToInput,
  ReduceSum: { before: 13, rewrite: listsToInputs({ axes: 1 }) },
  ReduceSumSquare: axesToInput,
  Resize: { before: 13, rewrite: resize },
  RoiAlign: {
    before: 16,
    rewrite: ({ draft, node }) => {
      draft.setAttributes(node, { coordinate_transformation_mode: string("output_half_pixel") });
    },
  },
  Scan: {
    before: 9,
    rewrite: (c) => c.refuse("its Scan runs over a batch"),
  },
  Scatter: {
    before: 11,
    rewrite: (c) => {
      replaced(c, "ScatterElements", c.node.inputs, c.node.attributes);
    },
  },
  Slice: { before: 10, rewrite: listsToInputs({ starts: 1, ends: 2, axes: 3 }) },
  Softmax: { before: 13, rewrite: softmax },
  Split: { before: 18, rewrite: split },
  Squeeze: { before: 13, rewrite: listsToInputs({ axes: 1 }) },
  TopK: { before: 10, rewrite: listsToInputs({ k: 1 }) },
  Unsqueeze: { before: 13, rewrite: listsToInputs({ axes: 1 }) },
  Upsample: { before: 10, rewrite: upsample },
};
