/**
 * Error of SparseGPT's sweep over that of Wanda's mask at the same share of a layer of 64 rows, by the columns of the blocks in which
 * the sweep chooses. Usage: npx tsx bench/obs-blocks.ts
 */
import { sweep } from "../src/sparsify/sweep/sweep.ts";
import { smallestPerRow } from "../src/tensor/selection/select.ts";
import { layerProblem, outputDistance, smoothProblem } from "../test/layer-problems.ts";

const rows = 64;
const blocks = [4, 8, 16, 32, 64, 128, 512];
console.log(`| columns, inputs, share | ${blocks.join(" | ")} |\n| --- |${" --- |".repeat(blocks.length)}`);
for (const columns of [256, 512]) {
  for (const [name, problem] of [["mixed", layerProblem] as const, ["smooth", smoothProblem] as const]) {
    const p = problem(rows, columns, 0);
    const scores = p.weights.map((w, i) => Math.abs(w) * Math.sqrt(p.gram[(i % columns) * (columns + 1)] ?? 0));
    for (const sparsity of [0.5, 0.7]) {
      const removed = smallestPerRow(scores, rows, columns, Math.round(columns * sparsity));
      const wanda = outputDistance(
        p,
        p.weights.map((w, i) => (removed[i] === 1 ? 0 : w)),
      );
      const cells: string[] = [];
      for (const blockSize of blocks) {
        const { weights } = await sweep(p.weights, p.gram, { kind: "sparsity", sparsity }, { blockSize });
        cells.push((outputDistance(p, weights) / wanda).toFixed(2));
      }
      console.log(`| ${columns}, ${name}, ${100 * sparsity} % | ${cells.join(" | ")} |`);
    }
  }
}
