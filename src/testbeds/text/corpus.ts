/** One kind of text, in parts that do not overlap. */
export interface Domain {
  readonly name: string;
  /** Learnt from. */
  readonly train: readonly string[];
  /** By which the best moment of a training is known. */
  readonly held: readonly string[];
  /** From which calibration inputs are drawn. */
  readonly pool: readonly string[];
  /** Measured on, and used for nothing else. */
  readonly test: readonly string[];
}

/** Texts of the files that the corpus is made from, by their names in the data folder. */
export type CorpusFiles = (name: string) => Promise<string>;

/** The files that the corpus needs. */
const corpusFiles = [
  "text/wikitext-2/valid.txt",
  "text/wikitext-2/test.txt",
  "text/linux/train.txt",
  "text/linux/valid.txt",
  "text/linux/test.txt",
  "text/tinyshakespeare.txt",
  "text/stories260K-samples.txt",
] as const;

/** Characters of a held-out part: all domains weigh about alike in the mean over them. */
const HELD = 16_000;

/**
 * Four kinds of text: an encyclopedia, source code, drama, and short stories. Wikitext-2's training split is not among the
 * files, so that its validation split is learnt from; its test split is measured on whole.
 */
export async function corpus(read: CorpusFiles): Promise<readonly Domain[]> {
  const [wikiValid, wikiTest, linuxTrain, linuxValid, linuxTest, drama, stories] = await Promise.all(
    corpusFiles.map(read),
  );
  const wiki = shares(wikiValid ?? "", [0.88, 0.94]);
  const code = shares(linuxValid ?? "", [0.5]);
  const plays = shares(drama ?? "", [0.8, 0.85, 0.9]);
  const told = (stories ?? "")
    .split("<|endoftext|>")
    .map((story) => story.trim())
    .filter((story) => story !== "");
  const part = (text: string | undefined): readonly string[] => [text ?? ""];
  const short = (text: string | undefined): readonly string[] => [wholeLines(text ?? "", HELD)];
  return [
    { name: "wikitext", train: part(wiki[0]), held: short(wiki[1]), pool: part(wiki[2]), test: part(wikiTest) },
    { name: "linux", train: part(linuxTrain), held: short(code[0]), pool: part(code[1]), test: part(linuxTest) },
    { name: "drama", train: part(plays[0]), held: short(plays[1]), pool: part(plays[2]), test: part(plays[3]) },
    {
      name: "stories",
      train: told.slice(0, 280),
      held: told.slice(280, 300),
      pool: told.slice(300, 340),
      test: told.slice(340),
    },
  ];
}

/** A text cut at shares of its length, at the next end of a line. */
function shares(text: string, at: readonly number[]): readonly string[] {
  const cuts = [0, ...at.map((share) => text.indexOf("\n", Math.floor(share * text.length)) + 1), text.length];
  return cuts.slice(1).map((end, i) => text.slice(cuts[i], end));
}

/** The first lines of a text, of at most so many characters together. */
function wholeLines(text: string, most: number): string {
  return text.length <= most ? text : text.slice(0, text.lastIndexOf("\n", most) + 1);
}
