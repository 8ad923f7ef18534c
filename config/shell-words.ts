/** Splits a command line as a POSIX shell splits words, without expanding anything. @throws SyntaxError for an open quote. */
export function splitShellWords(text: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: '"' | "'" | undefined;
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote === "'") {
      if (char === "'") quote = undefined;
      else word += char;
    } else if (char === "\\" && (quote === undefined || /["\\$`]/.test(text[at + 1] ?? ""))) {
      word = (word ?? "") + (text[++at] ?? "");
    } else if (quote === '"') {
      if (char === '"') quote = undefined;
      else word += char;
    } else if (char === '"' || char === "'") {
      quote = char;
      word ??= "";
    } else if (/\s/.test(char)) {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else {
      word = (word ?? "") + char;
    }
  }
  if (quote !== undefined) throw new SyntaxError(`Cannot split command ${JSON.stringify(text)}: the quote ${quote} is never closed`);
  if (word !== undefined) words.push(word);
  return words;
}
