import { describe, expect, it } from "vitest";
import { uncompared } from "./describe.ts";

describe("gradients", () => {
  it("are compared with something for every operator that has one", () => {
    expect(uncompared()).toEqual([]);
  });

  it("would be missed without their cases", () => {
    expect(uncompared(new Set(["Conv"]))).toEqual(["Conv"]);
  });
});
