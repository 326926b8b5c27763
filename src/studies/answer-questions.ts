import type { ChoiceQuestion, MatchQuestion, Question } from "../data/text/questions.ts";
import type { Graph } from "../graph/graph.ts";
import { generate, type Prompt } from "../models/generation/generate.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { type ContinuationOptions, scoreContinuations } from "../stats/answers/continuations.ts";
import { step } from "../tensor/progress.ts";
import type { Tokenizer } from "../tokenizers/tokenizer.ts";

/** A mean over questions, and the standard error of it. */
export interface Score {
  readonly value: number;
  readonly stderr: number;
  readonly n: number;
}

/** How a model answers questions; null where there were none of the kind. */
export interface Answers {
  /** Of choices: the one whose tokens are most likely together is right. */
  readonly acc: Score | null;
  /** The same, with likelihoods divided by the length of the choice in characters. */
  readonly acc_norm: Score | null;
  /** Of answers in the model's own words: equal to a target, but for space around them. */
  readonly exact_match: Score | null;
}

export interface AnswerOptions extends ContinuationOptions {
  readonly runtime: Runtime;
  readonly tokenizer: Tokenizer;
  /** The model as it scores text: tokens alone in, logits out. */
  readonly scoring: Graph;
  /** The model as it goes on with text, with a cache where it has one; `scoring` unless told. */
  readonly writing?: Graph;
  /** Most tokens of an answer; 256 unless told. */
  readonly maxTokens?: number;
}

/** Asks a model questions, and scores its answers in the terms of lm-eval. */
export async function answerQuestions(questions: readonly Question[], options: AnswerOptions): Promise<Answers> {
  const choices = questions.filter((question) => question.kind === "choice");
  const matches = questions.filter((question) => question.kind === "match");
  const { acc, norm } = choices.length === 0 ? { acc: null, norm: null } : await choose(choices, options);
  return { acc, acc_norm: norm, exact_match: matches.length === 0 ? null : await match(matches, options) };
}

async function choose(
  questions: readonly ChoiceQuestion[],
  options: AnswerOptions,
): Promise<{ acc: Score; norm: Score }> {
  const { runtime, scoring, tokenizer } = options;
  const texts = questions.flatMap(({ context, choices }) => choices.map((continuation) => ({ context, continuation })));
  const scores = await scoreContinuations(runtime, scoring, tokenizer, texts, options);
  const [right, rightNormed] = [new Float64Array(questions.length), new Float64Array(questions.length)];
  let at = 0;
  for (const [i, { choices, gold }] of questions.entries()) {
    const own = scores.slice(at, at + choices.length).map(({ logLikelihood }) => logLikelihood);
    at += choices.length;
    right[i] = gold.includes(largest(own)) ? 1 : 0;
    const normed = own.map((value, k) => value / [...(choices[k] ?? "")].length);
    rightNormed[i] = gold.includes(largest(normed)) ? 1 : 0;
  }
  return { acc: scoreOf(right), norm: scoreOf(rightNormed) };
}

async function match(questions: readonly MatchQuestion[], options: AnswerOptions): Promise<Score> {
  const { runtime, scoring, writing = scoring, tokenizer, maxTokens = 256, positions, batchSize = 16 } = options;
  const right = new Float64Array(questions.length);
  const said = (tokens: Int32Array): string => tokenizer.decode(tokens);
  for (let start = 0; start < questions.length; start += batchSize) {
    step(options, "answer", start, questions.length);
    const part = questions.slice(start, start + batchSize);
    const prompts = part.map(({ context, until }): Prompt => {
      const tokens = tokenizer.encode(context, { special: true });
      const room = positions === undefined ? tokens.length : Math.max(1, positions - maxTokens);
      return {
        tokens: tokens.slice(-Math.min(tokens.length, room)),
        stop: (found) => until.some((text) => said(found).includes(text)),
      };
    });
    const { texts } = await generate(runtime, writing, prompts, {
      maxTokens,
      end: tokenizer.special.end,
      pad: tokenizer.special.pad ?? tokenizer.special.end[0] ?? 0,
      ...(positions === undefined ? {} : { positions }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    for (const [i, { targets, until }] of part.entries()) {
      const answer = said(texts[i]?.tokens ?? new Int32Array(0));
      const ends = until.map((text) => answer.indexOf(text)).filter((place) => place >= 0);
      const kept = answer.slice(0, Math.min(answer.length, ...ends)).trim();
      right[start + i] = targets.some((target) => target.trim() === kept) ? 1 : 0;
    }
  }
  step(options, "answer", questions.length, questions.length);
  return scoreOf(right);
}

/** The place of the largest value, the first of equal ones. */
function largest(values: readonly number[]): number {
  return values.indexOf(Math.max(...values));
}

/** The mean, and the standard error of a mean of as many samples. */
function scoreOf(right: Float64Array): Score {
  const n = right.length;
  const value = right.reduce((sum, x) => sum + x, 0) / n;
  const variance = n < 2 ? 0 : right.reduce((sum, x) => sum + (x - value) ** 2, 0) / (n - 1);
  return { value, stderr: Math.sqrt(variance / n), n };
}
