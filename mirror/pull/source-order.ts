import type { Digest } from "../../oci/digest.ts";

const distrustMs = 60_000;
const mostRemembered = 1_000;

/** In which order sources are asked for a blob: as given, but those that sent part of it and broke off later, and those that lied last. */
export function createSourceOrder(now: () => number = Date.now) {
  const distrustedUntilMs = new Map<string, number>();
  const keyOf = (digest: Digest, name: string): string => `${digest} ${name}`;

  function isDistrusted(digest: Digest, name: string): boolean {
    const untilMs = distrustedUntilMs.get(keyOf(digest, name));
    return untilMs !== undefined && untilMs > now();
  }

  return {
    of<S extends { readonly name: string }>(
      digest: Digest,
      sources: readonly S[],
      brokenOff: ReadonlySet<string> = new Set(),
    ): readonly S[] {
      const rank = ({ name }: S): number => (isDistrusted(digest, name) ? 2 : brokenOff.has(name) ? 1 : 0);
      return sources.toSorted((one, other) => rank(one) - rank(other));
    },
    /** They sent bytes of a blob that turned out wrong: which of them it was cannot be told. */
    lied(digest: Digest, names: Iterable<string>): void {
      if (distrustedUntilMs.size >= mostRemembered) distrustedUntilMs.clear();
      for (const name of names) distrustedUntilMs.set(keyOf(digest, name), now() + distrustMs);
    },
  };
}
