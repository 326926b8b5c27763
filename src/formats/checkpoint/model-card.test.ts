import { expect, it } from "vitest";
import { parse } from "yaml";
import { modelCard } from "./model-card.ts";

it("a model card names the original in a header that the Hub reads, and holds recipe and figures", () => {
  const card = modelCard({
    base: "someone/model: 7B",
    title: "model-pruned50",
    summary: "Half of the neurons are gone.",
    recipe: "steps:\n  - sparsity: 0.5\n",
    figures: new Map([["perplexity", "5.1"]]),
    tags: ["moe"],
  });
  const [, header = "", text = ""] = card.split("---\n");
  expect(parse(header)).toEqual({
    base_model: "someone/model: 7B",
    base_model_relation: "finetune",
    library_name: "transformers",
    tags: ["pruning", "compression", "espalier", "moe"],
  });
  expect(text).toContain("```yaml\nsteps:\n  - sparsity: 0.5\n```");
  expect(card).toContain("| perplexity | 5.1 |");
});
