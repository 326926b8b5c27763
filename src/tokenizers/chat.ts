import { EspalierError } from "../tensor/error.ts";

/** One turn of a conversation. */
export interface Message {
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** Ends with what makes the model answer. */
  readonly answer?: boolean;
  /** More values that the template reads: tools, documents, switches. */
  readonly values?: Readonly<Record<string, unknown>>;
}

/** Writes a conversation as text. Throws `data` where the template refuses it. */
export type Conversation = (messages: readonly Message[], options?: ChatOptions) => Promise<string>;

/**
 * A conversation by a template in Jinja, the form that checkpoints carry. `tokens` are the texts of special tokens by
 * the names that templates read (`bos_token`). The template language is loaded when the first conversation is written.
 */
export function conversation(template: string, tokens: Readonly<Record<string, string>>, where: string): Conversation {
  return async (messages, { answer = false, values = {} } = {}) => {
    const { Template } = await import("@huggingface/jinja");
    try {
      return new Template(template).render({
        ...tokens,
        ...values,
        messages: messages.map((message) => ({ ...message })),
        add_generation_prompt: answer,
      });
    } catch (cause) {
      const why = cause instanceof Error ? cause.message : String(cause);
      const message = `expected a conversation that the chat template takes, got: ${why}.`;
      throw new EspalierError("data", where, message, "Roles and their order are decided by the template.", { cause });
    }
  };
}
