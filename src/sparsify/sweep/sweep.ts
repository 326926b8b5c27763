import { misfit, type Pattern, restOf } from "../../masks/pattern.ts";
import { EspalierError } from "../../tensor/error.ts";
import { type GramFactor, type GramFactorOptions, gramFactor } from "../../tensor/linalg/gram-factor.ts";
import { type Floats, type Products, part, plainProducts } from "../../tensor/linalg/products.ts";
import { checkMask, gramSide, rowsOf } from "./layer-sizes.ts";
import { type ColumnGroup, chooseShare } from "./sweep-choice.ts";
import { sweepColumns } from "./sweep-columns.ts";
import { byActivation, fromColumns, reordered, toColumns } from "./sweep-layout.ts";

/**
 * Which weights go: a mask [rows, columns] where 1 keeps; an N:M pattern chosen on the updated weights when the sweep
 * reaches them; or the share of each block of columns whose removal costs least then.
 */
export type SweepChoice =
  | { readonly kind: "mask"; readonly mask: Uint8Array }
  | { readonly kind: "pattern"; readonly pattern: Extract<Pattern, { kind: "n:m" }> }
  | { readonly kind: "sparsity"; readonly sparsity: number };

/** What a sweep needs to know of the inputs of a layer. Layers that share their inputs share it. */
export interface SweepFactor {
  readonly factor: GramFactor;
  /** Which column comes at each place; null as given. */
  readonly order: Int32Array | null;
}

export interface SweepFactorOptions extends GramFactorOptions {
  /** Order of the columns: as given, or those with the largest inputs first, which patterns refuse; default given. */
  readonly order?: "given" | "activation";
}

export interface SweepOptions extends SweepFactorOptions {
  /** Where products are made: `openProducts(runtime)`; default plain loops, which suit up to some hundred columns. */
  readonly products?: Products;
  /** Columns whose weights compete for a share; default 128. */
  readonly blockSize?: number;
  /** Kernel positions: columns are [input features, positions]; default 1. */
  readonly positions?: number;
  /** Weights and Gram matrix are given away, and their memory is used. */
  readonly overwrite?: boolean;
}

export interface Sweep {
  /** [rows, columns], of the type that was given; removed weights are exact zeros. */
  readonly weights: Floats;
  /** [rows, columns]; 1 keeps. */
  readonly mask: Uint8Array;
  /** ‖W X − W' X‖² in the unit of the Gram matrix, as the sweep adds it up; exact without damping. */
  readonly loss: number;
  /** What the factorisation took, as a fraction of the mean diagonal. */
  readonly damping: number;
}

/** Columns that a plain loop sweeps. */
const leafColumns = 16;

/**
 * Prunes a linear layer y = x·Wᵀ by the sweep of SparseGPT (algorithm 1): column after column is pruned, and those to its
 * right make up for it as the optimal brain surgeon would. weights: [rows, columns]; gram: mean or sum of x·xᵀ,
 * [columns, columns], or what `sweepFactor` made of it, which layers with the same inputs share. No model is in sight:
 *
 *     const products = openProducts(runtime); // once, for all layers; release it in the end
 *     const { weights, mask } = await sweep(w, gram, { kind: "sparsity", sparsity: 0.5 }, { products });
 *
 * Written with R of H = R·Rᵀ in place of the U = R⁻¹ of the paper, so that nothing is inverted. With D = W − W' the
 * columns of D·R are the errors that are left, ‖D·R‖² is the loss, and a weight that stays leaves no error. So what the
 * columns i before column j leave for it to make up for, its debt S = Σᵢ Dᵢ·Rᵢⱼ, is all there is to know: a weight that goes costs
 * (W·Rⱼⱼ + S)², one that stays becomes W + S/Rⱼⱼ. Columns are contiguous here, and each half of them gets its debt to
 * the half before by one product.
 *
 * Inputs that never fire lose their weights. Throws `shape` where sizes do not fit, `request` for an order that a pattern
 * cannot have, `data` where the Gram matrix is not finite. Cost: columns³/3 + rows · columns² multiplications and
 * additions. Memory besides arguments and result: two copies of the weights, one of the Gram matrix (none with
 * `overwrite`), and about 100 MB.
 */
export async function sweep(
  weights: Floats,
  gram: Float64Array | SweepFactor,
  choose: SweepChoice,
  options: SweepOptions = {},
): Promise<Sweep> {
  const { products = plainProducts, blockSize = 128, positions = 1, overwrite = false } = options;
  const columns = gram instanceof Float64Array ? gramSide(gram) : gram.factor.n;
  const rows = rowsOf(weights, columns);
  const ordered = gram instanceof Float64Array ? options.order === "activation" : gram.order !== null;
  check(choose, { rows, columns, positions }, ordered);
  const { factor, order } = gram instanceof Float64Array ? await sweepFactor(gram, options) : gram;
  const { upper } = factor;
  const state = toColumns(weights, rows, factor, order, choose.kind === "mask" ? choose.mask : null);
  const group = choose.kind === "pattern" ? groupOf(choose.pattern, columns, positions) : null;
  const costs = state.debt.slice(0, choose.kind === "sparsity" ? Math.min(columns, Math.max(1, blockSize)) * rows : 0);
  const leaf = group === null ? leafColumns : Math.ceil(leafColumns / group.columns) * group.columns;
  let loss = 0;
  const update = async (from: number, middle: number, to: number): Promise<void> => {
    const behind = part(state.removed, rows, from);
    const lines = part(upper, columns, from, middle);
    const now = part(state.debt, rows, middle);
    await products.addColumnProducts(now, lines, behind, to - middle, rows, middle - from, 1);
  };
  await inHalves(0, columns, choose.kind === "sparsity" ? Math.max(1, blockSize) : leaf, update, async (from, to) => {
    if (choose.kind === "sparsity") {
      await chooseShare(state, upper, rows, columns, from, to, choose.sparsity, products, costs);
    }
    await inHalves(from, to, leaf, update, async (first, end) => {
      loss += sweepColumns(state, upper, rows, columns, first, end, group);
    });
  });
  const swept = fromColumns(state, rows, columns, order, overwrite ? weights : null);
  return { ...swept, loss, damping: factor.damping };
}

/** Factorises the Gram matrix of the inputs of one or more layers, [columns, columns], for `sweep`. */
export async function sweepFactor(gram: Float64Array, options: SweepFactorOptions = {}): Promise<SweepFactor> {
  const columns = gramSide(gram);
  if (options.order !== "activation") return { factor: await gramFactor(gram, columns, options), order: null };
  const order = byActivation(gram, columns);
  const own = reordered(gram, columns, order);
  return { factor: await gramFactor(own, columns, { ...options, overwrite: true }), order };
}

/** Visits [from, to) in parts of at most `size`; before the second half of any part, it is updated by the first. */
async function inHalves(
  from: number,
  to: number,
  size: number,
  update: (from: number, middle: number, to: number) => Promise<void>,
  visit: (from: number, to: number) => Promise<void>,
): Promise<void> {
  if (to - from <= size) return visit(from, to);
  const middle = from + size * Math.ceil(Math.ceil((to - from) / size) / 2);
  await inHalves(from, middle, size, update, visit);
  await update(from, middle, to);
  await inHalves(middle, to, size, update, visit);
}

/** Columns among which a pattern chooses at once. */
function groupOf(pattern: Extract<Pattern, { kind: "n:m" }>, columns: number, positions: number): ColumnGroup {
  const inner = pattern.order === "im2col" ? 1 : positions;
  const group = ({ keep, of }: { readonly keep: number; readonly of: number }, rest: ColumnGroup | null) => ({
    ...{ keep, of, inner, rest },
    columns: of * inner,
  });
  const last = restOf(pattern, columns / inner);
  return group(pattern, last.of === 0 ? null : group(last, null));
}

function check(
  choose: SweepChoice,
  size: { readonly rows: number; readonly columns: number; readonly positions: number },
  ordered: boolean,
): void {
  if (choose.kind === "mask") checkMask(choose.mask, size.rows, size.columns);
  if (choose.kind !== "pattern") return;
  const reason = misfit(choose.pattern, size);
  if (reason !== null) throw new EspalierError("shape", "pattern", `expected one that fits; ${reason}.`);
  if (!ordered) return;
  throw new EspalierError(
    "request",
    "order",
    "expected the given order of columns, since a pattern groups neighbours, got activation.",
  );
}
