import type { Floats } from "./products.ts";

/** Side of the squares in which a matrix is turned. */
const tile = 64;

/** Transposes: element j of line i becomes element i of line j. from, to: where the lines start. Four by four, in registers. */
export function turn(source: Floats | Uint8Array, from: Int32Array, target: Floats | Uint8Array, to: Int32Array): void {
  for (let i0 = 0; i0 < from.length; i0 += tile) {
    for (let j0 = 0; j0 < to.length; j0 += tile) {
      const [iEnd, jEnd] = [Math.min(from.length, i0 + tile), Math.min(to.length, j0 + tile)];
      for (let i = i0; i < iEnd; i += 4) {
        for (let j = j0; j < jEnd; j += 4) {
          if (i + 4 <= iEnd && j + 4 <= jEnd) turnSquare(source, from, target, to, i, j);
          else turnRest(source, from, target, to, i, Math.min(i + 4, iEnd), j, Math.min(j + 4, jEnd));
        }
      }
    }
  }
}

function turnSquare(
  source: Floats | Uint8Array,
  from: Int32Array,
  target: Floats | Uint8Array,
  to: Int32Array,
  i: number,
  j: number,
): void {
  const p = (from[i] ?? 0) + j;
  const q = (from[i + 1] ?? 0) + j;
  const r = (from[i + 2] ?? 0) + j;
  const s = (from[i + 3] ?? 0) + j;
  for (let k = 0; k < 4; k++) {
    const at = (to[j + k] ?? 0) + i;
    target[at] = source[p + k] ?? 0;
    target[at + 1] = source[q + k] ?? 0;
    target[at + 2] = source[r + k] ?? 0;
    target[at + 3] = source[s + k] ?? 0;
  }
}

function turnRest(
  source: Floats | Uint8Array,
  from: Int32Array,
  target: Floats | Uint8Array,
  to: Int32Array,
  i0: number,
  i1: number,
  j0: number,
  j1: number,
): void {
  for (let i = i0; i < i1; i++) {
    for (let j = j0; j < j1; j++) target[(to[j] ?? 0) + i] = source[(from[i] ?? 0) + j] ?? 0;
  }
}
