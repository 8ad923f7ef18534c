import { SourceError } from "./errors.ts";

/** A git repository as source: `https://host/repo.git#ref:subdir`, with BuildKit's rules for what follows the `#`. */
export type GitAddress = {
  readonly url: string;
  /** branch, tag or commit; absent: what the repository's HEAD is */
  readonly ref?: string;
  /** within the repository; absent: all of it */
  readonly subdir?: string;
};

const refShape = /^[A-Za-z0-9][A-Za-z0-9._/+@-]*$/;

/**
 * Undefined for what is no address of a repository, such as a directory's name.
 * @throws SourceError when it is one with a wrong ref or folder
 */
export function parseGitAddress(text: string): GitAddress | undefined {
  const [url, fragment] = splitOnce(text, "#");
  const isHttp = /^https?:\/\/[^/]+\/.*\.git$/.test(url);
  const isSsh = /^ssh:\/\/[^/-][^/]*\/./.test(url) || /^[A-Za-z0-9_][A-Za-z0-9._-]*@[A-Za-z0-9][A-Za-z0-9.-]*:[^-]/.test(url);
  if (!isHttp && !isSsh) return undefined;
  const [ref, subdir] = splitOnce(fragment, ":");
  if (ref !== "" && (!refShape.test(ref) || ref.includes("..")))
    throw new SourceError(`Cannot use "${ref}" of "${withoutLogin(text)}": expected a branch, tag or commit`);
  if (subdir.startsWith("/") || subdir.split("/").includes(".."))
    throw new SourceError(`Cannot use folder "${subdir}" of "${withoutLogin(text)}": expected a relative path inside the repository`);
  return { url, ...(ref === "" ? {} : { ref }), ...(subdir === "" ? {} : { subdir }) };
}

/** A text without the logins of the addresses in it: they are for no terminal and no log. */
export const withoutLogin = (text: string): string => text.replace(/(\b[a-z]+:\/\/)[^\s/@]*@/gi, "$1");

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ""] : [text.slice(0, at), text.slice(at + separator.length)];
}
