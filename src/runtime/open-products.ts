import { int } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";
import { toFloat32, toFloat64 } from "../tensor/numeric.ts";
import { addTo, type Floats, type Part, type Products, packInto, plainProducts } from "../tensor/products.ts";
import type { HostTensor } from "../tensor/tensor.ts";
import type { Runtime, Session } from "./runtime.ts";

/** Products that hold sessions: release them. */
export interface RuntimeProducts extends Products {
  release(): Promise<void>;
}

type Precision = "f32" | "f64";
type Side = "rows" | "columns";

/** Multiplications below which a plain loop beats a call of the runtime (measured: 10 µs against 8 for 24³, see bench/obs.ts). */
const plainBelow = 16 ** 3;

/** Bytes of a result that the runtime gives at once: larger ones are made in strips of rows. */
const stripBytes = 1 << 24;

/**
 * Products by a runtime's general matrix product, one session for each precision and side, made when first needed.
 * Where the runtime has no products in float64 (WebGPU), these are plain loops.
 */
export function openProducts(runtime: Pick<Runtime, "compile">): RuntimeProducts {
  const sessions = new Map<Graph, Promise<Session | null>>();

  function sessionFor(precision: Precision, side: Side): Promise<Session | null> {
    const graph = graphs[side][precision];
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
    const session = m * n * depth < plainBelow ? null : await sessionFor(precision, side);
    if (session === null) {
      if (side === "rows") return plainProducts.addRowProducts(c, a, b, m, n, depth, sign);
      return plainProducts.addColumnProducts(c, a, b, m, n, depth, sign);
    }
    const right = side === "rows" ? contiguous(c.data, b, n, depth) : contiguous(c.data, b, depth, n);
    const strip = Math.max(1, Math.floor(stripBytes / (n * c.data.BYTES_PER_ELEMENT)));
    for (let from = 0; from < m; from += strip) {
      const rows = Math.min(strip, m - from);
      const left =
        side === "rows"
          ? contiguous(c.data, { ...a, at: a.at + from * a.stride }, rows, depth)
          : contiguous(c.data, { ...a, at: a.at + from }, depth, rows);
      const results = await session.run(
        new Map([
          ["a", tensorOf(precision, left, side === "rows" ? [rows, depth] : [depth, rows])],
          ["b", tensorOf(precision, right, side === "rows" ? [n, depth] : [depth, n])],
        ]),
      );
      addTo({ ...c, at: c.at + from * c.stride }, valuesOf(results.get("y")), rows, n, sign);
    }
  }

  return {
    addRowProducts: (...args) => add("rows", ...args),
    addColumnProducts: (...args) => add("columns", ...args),
    release: async () => {
      const open = await Promise.all(sessions.values());
      sessions.clear();
      for (const session of open) await session?.release();
    },
  };
}

const graphs: Record<Side, Record<Precision, Graph>> = {
  rows: { f32: productGraph("f32", "transB"), f64: productGraph("f64", "transB") },
  columns: { f32: productGraph("f32", "transA"), f64: productGraph("f64", "transA") },
};

function productGraph(precision: Precision, flipped: "transA" | "transB"): Graph {
  const draft = builder("product", 17);
  const a = draft.input("a", precision, [null, null]);
  const b = draft.input("b", precision, [null, null]);
  draft.output(draft.op("Gemm", [a, b], { [flipped]: int(1) }, "y"), precision);
  return draft.finish();
}

/** The part itself where it is contiguous and of the same type as `like`; else a copy. */
function contiguous(like: Floats, { data, at, stride }: Part, rows: number, columns: number): Floats {
  const size = rows * columns;
  if (like instanceof Float32Array) {
    if (data instanceof Float32Array && stride === columns) return data.subarray(at, at + size);
    return packInto(new Float32Array(size), { data, at, stride }, rows, columns);
  }
  if (data instanceof Float64Array && stride === columns) return data.subarray(at, at + size);
  return packInto(new Float64Array(size), { data, at, stride }, rows, columns);
}

function tensorOf(dtype: Precision, values: Floats, shape: readonly number[]): HostTensor {
  return { dtype, shape, bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
}

function valuesOf(tensor: HostTensor | undefined): Floats {
  if (tensor === undefined) throw new EspalierError("runtime", "product", "expected a result, got none.");
  return tensor.dtype === "f32" ? toFloat32(tensor) : toFloat64(tensor);
}
