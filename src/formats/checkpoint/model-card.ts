import { stringify } from "yaml";

/** What a model card states of a pruned checkpoint. */
export interface CardFacts {
  /** Where the original is from: its name on the Hub, or that of its folder. */
  readonly base: string;
  readonly title: string;
  /** One sentence that says what was removed. */
  readonly summary: string;
  /** The recipe that makes this checkpoint of the original. */
  readonly recipe: string;
  /** Figures that were measured, by what they say. */
  readonly figures: ReadonlyMap<string, string>;
  readonly tags?: readonly string[];
  readonly pipeline?: string;
}

/** README.md of a pruned checkpoint, with the recipe inside. The Hub has no word for pruned models: they count as fine-tuned. */
export function modelCard(facts: CardFacts): string {
  const { base, title, summary, recipe, figures, tags = [], pipeline } = facts;
  const header = {
    base_model: base,
    base_model_relation: "finetune",
    library_name: "transformers",
    ...(pipeline === undefined ? {} : { pipeline_tag: pipeline }),
    tags: ["pruning", "compression", "espalier", ...tags],
  };
  const table = [...figures].map(([name, value]) => `| ${name} | ${value} |`);
  const measured = table.length === 0 ? "" : `\n## Measured\n\n| what | value |\n| --- | --- |\n${table.join("\n")}\n`;
  return `---\n${stringify(header)}---\n\n# ${title}\n\n${summary}\n${measured}\n## Recipe\n\n\`\`\`yaml\n${recipe.trimEnd()}\n\`\`\`\n`;
}
