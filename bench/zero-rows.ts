/**
 * Nanoseconds of processor time the mask of a row takes for a weight, as Wanda makes it: `npx tsx bench/zero-rows.ts [RUNS]`. Median and least of
 * interleaved runs over several shapes. Aim: 8.
 */
import { type RowRule, zeroInRows } from "../src/masks/zero-rows.ts";
import type { FloatType } from "../src/tensor/dtype.ts";
import { fromFloats } from "../src/tensor/numeric.ts";
import { random } from "../src/tensor/random.ts";

const runs = Number(process.argv[2] ?? "15");
// Once a buffer has gone to another thread, as those of the runtime do, V8 looks at each access whether its buffer has, too.
const gone = new ArrayBuffer(8);
structuredClone(gone, { transfer: [gone] });

const half = { removed: 0.5 };
const cases: readonly (readonly [dtype: FloatType, rows: number, columns: number, rule: RowRule])[] = [
  ["bf16", 1024, 2048, half],
  ["bf16", 512, 5632, half],
  ["f32", 1024, 2048, half],
  ["f16", 1024, 2048, half],
  ["bf16", 1024, 2048, { keep: 2, of: 4 }],
];
const source = random(0);
const prepared = cases.map(([dtype, rows, columns, rule]) => {
  const values = new Float32Array(rows * columns);
  source.fillNormal(values, 0, 0.02);
  const scales = Float64Array.from({ length: columns }, () => Math.exp(source.normal()));
  const exact = "removed" in rule ? { removed: rule.removed * columns } : rule;
  const run = (): number => {
    const host = fromFloats(dtype, [rows, columns], values);
    const start = process.cpuUsage();
    zeroInRows(host, rows, { power: 1, columns: scales }, exact);
    return (process.cpuUsage(start).user * 1e3) / values.length;
  };
  return { name: `${dtype} [${rows}, ${columns}] ${JSON.stringify(rule)}`, run, times: [] as number[] };
});
for (let turn = 0; turn < runs; turn++) for (const { run, times } of prepared) times.push(run());
for (const { name, times } of prepared) {
  const [least = 0, ...others] = times.sort((a, b) => a - b);
  console.log(`${name}: ${(others[others.length >> 1] ?? least).toFixed(1)} ns, at least ${least.toFixed(1)}`);
}
