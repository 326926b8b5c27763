import { stringify } from "yaml";

/** What a model card states of a pruned checkpoint. */
export interface CardFacts {
  /** Where the original is from: its name on the Hub, or that of its folder. */
  readonly base: string;
  readonly title: string;
  /** One sentence that says what was removed. */
  readonly summary: string;
  /** The recipe that makes this checkpoint of the original, as YAML that can be run; absent where none is known. */
  readonly recipe?: string;
  /** Every setting with the value that it had in the end, as YAML. */
  readonly settled?: string;
  /** Figures that were measured, by what they say. */
  readonly figures: ReadonlyMap<string, string>;
  readonly tags?: readonly string[];
  readonly pipeline?: string;
}

/** README.md of a pruned checkpoint, with the recipe inside. The Hub has no word for pruned models: they count as fine-tuned. */
export function modelCard(facts: CardFacts): string {
  const { base, title, summary, recipe, settled, figures, tags = [], pipeline } = facts;
  const header = {
    base_model: base,
    base_model_relation: "finetune",
    library_name: "transformers",
    ...(pipeline === undefined ? {} : { pipeline_tag: pipeline }),
    tags: ["pruning", "compression", "espalier", ...tags],
  };
  const table = [...figures].map(([name, value]) => `| ${name} | ${value} |`);
  const measured = table.length === 0 ? "" : `\n## Measured\n\n| what | value |\n| --- | --- |\n${table.join("\n")}\n`;
  return `---\n${stringify(header)}---\n\n# ${title}\n\n${summary}\n${measured}${block("Recipe", recipe)}${block("Settings", settled)}`;
}

/** A section with a text between fences that no line of it closes. */
function block(heading: string, text: string | undefined): string {
  if (text === undefined) return "";
  const longest = Math.max(2, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const fence = "`".repeat(longest + 1);
  return `\n## ${heading}\n\n${fence}yaml\n${text.trimEnd()}\n${fence}\n`;
}
