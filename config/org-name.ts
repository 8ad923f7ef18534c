/** As long as a builder's socket below the run folder allows (`longestSocket` in stack/socket-paths.ts). */
export const orgNameMaxLength = 40;

const shape = /^[a-z0-9]+(-[a-z0-9]+)*$/;

export const orgNameRule = `lower-case letters, digits and single hyphens, at most ${orgNameMaxLength} characters`;

/** Whether the text may name an org: it becomes part of repositories, namespaces, folders and sockets. */
export function isOrgName(text: string): boolean {
  return text.length <= orgNameMaxLength && shape.test(text);
}
