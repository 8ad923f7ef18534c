declare const repositoryBrand: unique symbol;
declare const tagBrand: unique symbol;

/** A repository name without registry host (distribution-spec, "Pulling manifests": `<name>`). */
export type Repository = string & { readonly [repositoryBrand]: true };

/** A tag (distribution-spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`). */
export type Tag = string & { readonly [tagBrand]: true };

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const repositoryShape = new RegExp(`^${component}(?:/${component})*$`);
const tagShape = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const longestRepository = 255;

export function isRepository(text: string): text is Repository {
  return text.length <= longestRepository && repositoryShape.test(text);
}

export function isTag(text: string): text is Tag {
  return tagShape.test(text);
}

/** @throws SyntaxError naming the text and the expected form. */
export function parseRepository(text: string): Repository {
  if (isRepository(text)) return text;
  throw new SyntaxError(
    `Cannot parse repository "${text.slice(0, 160)}": expected lower-case path components joined by "/", at most ${longestRepository} characters`,
  );
}

/** @throws SyntaxError naming the text and the expected form. */
export function parseTag(text: string): Tag {
  if (isTag(text)) return text;
  throw new SyntaxError(`Cannot parse tag "${text.slice(0, 160)}": expected 1 to 128 of letters, digits, "_", "." and "-"`);
}
