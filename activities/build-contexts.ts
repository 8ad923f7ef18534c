import type { NamedContext } from "../builder/buildkit/frontend-attrs.ts";
import type { SourceRef } from "../workflows/types.ts";
import type { BuildInput } from "./types.ts";

type Build = Pick<BuildInput["build"], "contexts">;

/** Named contexts as BuildKit takes them. `urlOf` says where a builder reads what was uploaded. */
export function namedContexts({ contexts = {} }: Build, urlOf: (source: SourceRef) => string): Readonly<Record<string, NamedContext>> {
  const named = ([name, context]: [string, string | SourceRef]) =>
    [name, typeof context === "string" ? { address: context } : { tarUrl: urlOf(context) }] as const;
  return Object.fromEntries(Object.entries(contexts).map(named));
}

/** All that was uploaded for a build: its source, and the directories among its contexts. */
export function sourcesOf({ source, build }: { readonly source: SourceRef; readonly build: Build }): readonly SourceRef[] {
  return [source, ...Object.values(build.contexts ?? {}).filter((context) => typeof context !== "string")];
}
