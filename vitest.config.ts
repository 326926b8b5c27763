import { defineConfig } from "vitest/config";
import { PlainReporter } from "./test/tools/plain-reporter.ts";

export default defineConfig({
  test: {
    include: ["src/**/*.test.ts", "test/**/*.test.ts"],
    expect: { requireAssertions: true },
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    reporters: [process.env["CI"] === undefined ? "default" : "verbose", new PlainReporter()],
  },
});
