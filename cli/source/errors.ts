/** The source directory cannot be packed: the user has to change it. */
export class SourceError extends Error {
  override readonly name = "SourceError";
}
