/** Language models with texts, on which papers of language models are reproduced; the first whose files are here is taken. */
export const languageTestbeds = ["stories260k", "tinylm-wikitext", "tinylm-linux", "tinylm-drama"] as const;

export type LanguageTestbed = (typeof languageTestbeds)[number];
