import { type Attributes, float, int } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";
import { type Floats, type Part, type Products, packInto, plainProducts } from "../tensor/linalg/products.ts";
import { turn } from "../tensor/linalg/turn.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import type { Runtime, Session } from "./runtime.ts";

/** Products that hold sessions: release them. */
export interface RuntimeProducts extends Products {
  release(): Promise<void>;
}

type Precision = "f32" | "f64";
/** Which way both factors lie: rows or columns are multiplied with each other. */
type Side = "rows" | "columns";

/** Multiplications below which a plain loop beats a call of the runtime: at 48³ both took 0.14 ms in float64, 0.16 in float32. */
const plainBelow = 48 ** 3;

/** Bytes of a sum that is updated at once: larger results, even for a moment, make the garbage collector look through everything. */
const stripBytes = 1 << 22;

/**
 * Products by a runtime's general matrix product, one session for each precision, side and sign, made when first needed. The
 * runtime adds them where the sum lies, or in a packed copy of it where its rows are apart: new memory for each result, and
 * what its collection costs, took a fifth of a factorisation. Where the runtime has no products in float64
 * (WebGPU), these are plain loops.
 */
export function openProducts(runtime: Pick<Runtime, "compile">): RuntimeProducts {
  const sessions = new Map<Graph, Promise<Session | null>>();
  /** Scratch that no product is using: to allocate megabytes anew for each took a tenth of the time. */
  const spare: Record<Precision, Scratch[]> = { f32: [], f64: [] };

  function scratch(like: Floats): Scratch {
    const single = like instanceof Float32Array;
    return spare[single ? "f32" : "f64"].pop() ?? { values: single ? new Float32Array(0) : new Float64Array(0) };
  }

  function sessionFor(precision: Precision, side: Side, sign: 1 | -1): Promise<Session | null> {
    const graph = graphs[side][precision][sign === 1 ? "plus" : "minus"];
    const found = sessions.get(graph) ?? open(graph, precision);
    sessions.set(graph, found);
    return found;
  }

  async function open(graph: Graph, precision: Precision): Promise<Session | null> {
    try {
      return await runtime.compile(graph);
    } catch (cause) {
      if (precision === "f64" && cause instanceof EspalierError) return null;
      throw cause;
    }
  }

  async function add(side: Side, c: Part, a: Part, b: Part, m: number, n: number, depth: number, sign: 1 | -1) {
    const precision = c.data instanceof Float32Array ? "f32" : "f64";
    const session = m * n * depth < plainBelow ? null : await sessionFor(precision, side, sign);
    if (session === null) {
      if (side === "rows") return plainProducts.addRowProducts(c, a, b, m, n, depth, sign);
      return plainProducts.addColumnProducts(c, a, b, m, n, depth, sign);
    }
    const [left, right, sums] = [scratch(c.data), scratch(c.data), scratch(c.data)];
    const second = side === "rows" ? tensorOf(right, b, n, depth) : tensorOf(right, b, depth, n);
    const strip = Math.max(1, Math.floor(stripBytes / (n * c.data.BYTES_PER_ELEMENT)));
    for (let from = 0; from < m; from += strip) {
      const rows = Math.min(strip, m - from);
      const first =
        side === "rows"
          ? tensorOf(left, { ...a, at: a.at + from * a.stride }, rows, depth)
          : turnedTensor(left, { ...a, at: a.at + from }, depth, rows);
      const own = { ...c, at: c.at + from * c.stride };
      const sum = tensorOf(sums, own, rows, n);
      const feeds = new Map([["a", first] as const, ["b", second] as const, ["c", sum] as const]);
      await session.run(feeds, undefined, undefined, new Map([["y", sum]]));
      if (c.stride !== n) unpack(sums.values, own, rows, n);
    }
    spare[precision].push(left, right, sums);
  }

  return {
    addRowProducts: (...args) => add("rows", ...args),
    addColumnProducts: (...args) => add("columns", ...args),
    release: async () => {
      const open = await Promise.all(sessions.values());
      sessions.clear();
      for (const unused of Object.values(spare)) unused.length = 0;
      for (const session of open) await session?.release();
    },
  };
}

/** y = c ± a·bᵀ by rows, c ± a·b by columns, where a is turned while it is packed: the runtime would turn it again and again. */
const graphs = { rows: graphsOf({ transB: int(1) }), columns: graphsOf({}) };

function graphsOf(flipped: Attributes) {
  const graph = (precision: Precision, sign: 1 | -1): Graph => {
    const draft = builder("product", 17);
    const inputs = ["a", "b", "c"].map((name) => draft.input(name, precision));
    draft.output(draft.op("Gemm", inputs, { ...flipped, alpha: float(sign) }, "y"), precision);
    return draft.finish();
  };
  const signed = (precision: Precision) => ({ plus: graph(precision, 1), minus: graph(precision, -1) });
  return { f32: signed("f32"), f64: signed("f64") };
}

/** Memory for packed matrices that grows as needed. */
interface Scratch {
  values: Floats;
}

/** Scratch of this many elements at least. */
function room(scratch: Scratch, size: number): Floats {
  if (scratch.values.length < size) {
    scratch.values = scratch.values instanceof Float32Array ? new Float32Array(size) : new Float64Array(size);
  }
  return scratch.values.subarray(0, size);
}

/** [rows, columns] of the type of the scratch: the part itself where it is contiguous and has that type, else a copy in the scratch. */
function tensorOf(scratch: Scratch, given: Part, rows: number, columns: number): HostTensor {
  const { data, at, stride } = given;
  const size = rows * columns;
  const fits = stride === columns && data instanceof Float32Array === scratch.values instanceof Float32Array;
  const values = fits ? data.subarray(at, at + size) : packInto(room(scratch, size), given, rows, columns);
  return hostTensor(values, rows, columns);
}

/** A copy of a part [rows, columns] that lies the other way round: [columns, rows]. */
function turnedTensor(scratch: Scratch, { data, at, stride }: Part, rows: number, columns: number): HostTensor {
  const values = room(scratch, rows * columns);
  const starts = (count: number, from: number, step: number) =>
    Int32Array.from({ length: count }, (_, i) => from + i * step);
  turn(data, starts(rows, at, stride), values, starts(columns, 0, rows));
  return hostTensor(values, columns, rows);
}

function hostTensor(values: Floats, rows: number, columns: number): HostTensor {
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: values instanceof Float32Array ? "f32" : "f64", shape: [rows, columns], bytes };
}

/** Puts a packed block back. */
function unpack(from: Floats, { data, at, stride }: Part, rows: number, columns: number): void {
  for (let i = 0; i < rows; i++) data.set(from.subarray(i * columns, (i + 1) * columns), at + i * stride);
}
