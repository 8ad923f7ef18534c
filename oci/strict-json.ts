/** Deeper than any manifest, and far from what exhausts a stack. */
const deepest = 32;

const space = /[ \t\n\r]*/y;
const number = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const word = /true|false|null/y;

/** What every reader takes for the same value (I-JSON, RFC 7493). */
class JsonReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  readDocument(): unknown {
    const value = this.#readValue(0);
    this.#skip();
    if (this.#at !== this.#text.length) throw this.#unexpected("the end");
    return value;
  }

  #readValue(depth: number): unknown {
    if (depth > deepest) throw new SyntaxError(`Cannot parse JSON: expected at most ${deepest} levels`);
    this.#skip();
    switch (this.#text[this.#at]) {
      case "{":
        return this.#readObject(depth);
      case "[":
        return this.#readArray(depth);
      case '"':
        return this.#readString();
      case "t":
      case "f":
      case "n":
        return JSON.parse(this.#take(word, "a value"));
      default:
        return this.#readNumber();
    }
  }

  #readObject(depth: number): Record<string, unknown> {
    const members = new Map<string, unknown>();
    this.#readMembers("}", () => {
      this.#skip();
      const key = this.#readString();
      if (members.has(key)) throw new SyntaxError(`Cannot parse JSON: expected the key "${key.slice(0, 80)}" once, found it twice`);
      this.#skip();
      this.#expect(":");
      members.set(key, this.#readValue(depth + 1));
    });
    return Object.fromEntries(members);
  }

  #readArray(depth: number): unknown[] {
    const items: unknown[] = [];
    this.#readMembers("]", () => items.push(this.#readValue(depth + 1)));
    return items;
  }

  #readMembers(end: string, readOne: () => void): void {
    this.#at += 1;
    this.#skip();
    if (this.#text[this.#at] === end) {
      this.#at += 1;
      return;
    }
    for (;;) {
      readOne();
      this.#skip();
      if (this.#text[this.#at] === end) break;
      this.#expect(",");
    }
    this.#at += 1;
  }

  #readString(): string {
    if (this.#text[this.#at] !== '"') throw this.#unexpected("a string");
    let end = this.#text.indexOf('"', this.#at + 1);
    while (end > 0 && isEscaped(this.#text, end)) end = this.#text.indexOf('"', end + 1);
    if (end < 0) throw this.#unexpected("a string that ends");
    const literal = this.#text.slice(this.#at, end + 1);
    this.#at = end + 1;
    return JSON.parse(literal) as string;
  }

  #readNumber(): number {
    const text = this.#take(number, "a value");
    const value = Number(text);
    if (Math.abs(value) <= Number.MAX_SAFE_INTEGER) return value;
    throw new SyntaxError(`Cannot parse JSON: expected numbers up to 2^53 - 1, found ${text.slice(0, 40)}`);
  }

  #skip(): void {
    space.lastIndex = this.#at;
    space.test(this.#text);
    this.#at = space.lastIndex;
  }

  #expect(character: string): void {
    if (this.#text[this.#at] !== character) throw this.#unexpected(`"${character}"`);
    this.#at += 1;
  }

  #take(token: RegExp, expected: string): string {
    token.lastIndex = this.#at;
    const match = token.exec(this.#text);
    if (match === null) throw this.#unexpected(expected);
    this.#at = token.lastIndex;
    return match[0];
  }

  #unexpected(expected: string): SyntaxError {
    return new SyntaxError(`Cannot parse JSON: expected ${expected} at offset ${this.#at}`);
  }
}

/**
 * Parses JSON that means the same to every reader: UTF-8, no key twice in one object, no number above 2^53 - 1, at most 32 levels deep.
 * @throws SyntaxError saying what was expected and found.
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  return new JsonReader(decodeUtf8(bytes)).readDocument();
}

/** Whether the quote at `index` is one of the string's own: an odd number of backslashes is before it. */
function isEscaped(text: string, index: number): boolean {
  let first = index;
  while (text[first - 1] === "\\") first -= 1;
  return (index - first) % 2 === 1;
}

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new SyntaxError("Cannot parse JSON: expected UTF-8", { cause });
  }
}
