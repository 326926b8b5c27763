import { int } from "../graph/attributes.ts";
import { builder } from "../graph/builder.ts";
import type { Graph } from "../graph/graph.ts";
import { EspalierError } from "../tensor/error.ts";
import { addTo, type Floats, type Part, type Products, packInto, plainProducts } from "../tensor/linalg/products.ts";
import { toFloat32, toFloat64 } from "../tensor/numeric.ts";
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

/** Bytes of a result that the runtime gives at once: larger ones are made in strips of rows. */
const stripBytes = 1 << 24;

/**
 * Products by a runtime's general matrix product, one session for each precision and side, made when first needed.
 * Where the runtime has no products in float64 (WebGPU), these are plain loops.
 */
export function openProducts(runtime: Pick<Runtime, "compile">): RuntimeProducts {
  const sessions = new Map<Graph, Promise<Session | null>>();
  /** Scratch that no product is using: to allocate megabytes anew for each took a tenth of the time. */
  const spare: Record<Precision, Scratch[]> = { f32: [], f64: [] };

  function scratch(like: Floats): Scratch {
    const single = like instanceof Float32Array;
    return spare[single ? "f32" : "f64"].pop() ?? { values: single ? new Float32Array(0) : new Float64Array(0) };
  }

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
    const [left, right] = [scratch(c.data), scratch(c.data)];
    const second = side === "rows" ? tensorOf(right, b, n, depth) : tensorOf(right, b, depth, n);
    const strip = Math.max(1, Math.floor(stripBytes / (n * c.data.BYTES_PER_ELEMENT)));
    for (let from = 0; from < m; from += strip) {
      const rows = Math.min(strip, m - from);
      const first =
        side === "rows"
          ? tensorOf(left, { ...a, at: a.at + from * a.stride }, rows, depth)
          : tensorOf(left, { ...a, at: a.at + from }, depth, rows);
      const feeds = new Map([["a", first] as const, ["b", second] as const]);
      const product = (await session.run(feeds)).get("y");
      if (product === undefined) throw new EspalierError("runtime", "product", "expected a result, got none.");
      const values = precision === "f32" ? toFloat32(product) : toFloat64(product);
      addTo({ ...c, at: c.at + from * c.stride }, values, rows, n, sign);
    }
    spare[precision].push(left, right);
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

const graphs = { rows: graphsOf("transB"), columns: graphsOf("transA") };

function graphsOf(flipped: "transA" | "transB"): Record<Precision, Graph> {
  const graph = (precision: Precision): Graph => {
    const draft = builder("product", 17);
    const [a, b] = [draft.input("a", precision), draft.input("b", precision)];
    // With the sum so far as a third input it takes longer than a loop: three times the time at a depth of 128.
    draft.output(draft.op("Gemm", [a, b], { [flipped]: int(1) }, "y"), precision);
    return draft.finish();
  };
  return { f32: graph("f32"), f64: graph("f64") };
}

/** Memory for packed factors that grows as needed. */
interface Scratch {
  values: Floats;
}

/** [rows, columns] of the type of the scratch: the part itself where it is contiguous and has that type, else a copy in the scratch. */
function tensorOf(scratch: Scratch, { data, at, stride }: Part, rows: number, columns: number): HostTensor {
  const size = rows * columns;
  const single = scratch.values instanceof Float32Array;
  let values: Floats;
  if (stride === columns && data instanceof Float32Array === single) values = data.subarray(at, at + size);
  else {
    if (scratch.values.length < size) scratch.values = single ? new Float32Array(size) : new Float64Array(size);
    values = packInto(scratch.values.subarray(0, size), { data, at, stride }, rows, columns);
  }
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  return { dtype: single ? "f32" : "f64", shape: [rows, columns], bytes };
}
