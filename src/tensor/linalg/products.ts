import { addProduct, transposed, view } from "./matrix.ts";

export type Floats = Float32Array | Float64Array;

/** Part of a row-major matrix: element (i, j) is `data[at + i * stride + j]`. */
export interface Part {
  readonly data: Floats;
  readonly at: number;
  readonly stride: number;
}

/**
 * Products of dense matrices, where most of the time of linear algebra goes: in plain loops (`plainProducts`), or in
 * a runtime (`openProducts`). They are added to `c` in its own precision; `a` and `b` are rounded to that first.
 */
export interface Products {
  /** c += sign · a · bᵀ. a: [m, depth], b: [n, depth], c: [m, n]. */
  addRowProducts(c: Part, a: Part, b: Part, m: number, n: number, depth: number, sign: 1 | -1): Promise<void>;
  /** c += sign · aᵀ · b. a: [depth, m], b: [depth, n], c: [m, n]. */
  addColumnProducts(c: Part, a: Part, b: Part, m: number, n: number, depth: number, sign: 1 | -1): Promise<void>;
}

export function part(data: Floats, stride: number, row = 0, column = 0): Part {
  return { data, at: row * stride + column, stride };
}

/** Loops in this thread: for small matrices, and where there is no runtime. */
export const plainProducts: Products = {
  addRowProducts: async (c, a, b, m, n, depth, sign) => {
    addRows(c, doubles(a, m, depth), doubles(b, n, depth), m, n, depth, sign);
  },
  addColumnProducts: async (c, a, b, m, n, depth, sign) => {
    const left = transposed(doubles(a, depth, m), depth, m);
    const right = transposed(doubles(b, depth, n), depth, n);
    addRows(c, left, right, m, n, depth, sign);
  },
};

/** Copies a part to where it is contiguous: [rows, columns] of `into`. */
export function packInto<T extends Floats>(into: T, { data, at, stride }: Part, rows: number, columns: number): T {
  if (stride === columns) into.set(data.subarray(at, at + rows * columns));
  else {
    for (let i = 0; i < rows; i++) into.set(data.subarray(at + i * stride, at + i * stride + columns), i * columns);
  }
  return into;
}

/** c += sign · block. block: [m, n], contiguous. */
function addTo({ data, at, stride }: Part, block: Float64Array, m: number, n: number, sign: 1 | -1): void {
  for (let i = 0; i < m; i++) {
    const to = at + i * stride;
    for (let j = 0; j < n; j++) data[to + j] = (data[to + j] ?? 0) + sign * (block[i * n + j] ?? 0);
  }
}

function doubles(a: Part, rows: number, columns: number): Float64Array {
  return packInto(new Float64Array(rows * columns), a, rows, columns);
}

function addRows(c: Part, a: Float64Array, b: Float64Array, m: number, n: number, depth: number, sign: 1 | -1): void {
  if (c.data instanceof Float64Array) {
    addProduct({ ...c, data: c.data }, view(a, depth), view(b, depth), m, n, depth, sign);
    return;
  }
  const sum = new Float64Array(m * n);
  addProduct(view(sum, n), view(a, depth), view(b, depth), m, n, depth, 1);
  addTo(c, sum, m, n, sign);
}
