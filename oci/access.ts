import type { DistributionEndpoint } from "./distribution-path.ts";
import { type Repository, isRepository } from "./repository.ts";

export const registryActions = ["pull", "push", "delete"] as const;
export type RegistryAction = (typeof registryActions)[number];

/** What somebody may do, or asks to do, in one repository. */
export type Access = { readonly repository: Repository; readonly actions: readonly RegistryAction[] };

/** What a deploy token or the system is allowed: everything, an org, or one app of it. */
export type Grant = {
  readonly within: "everything" | { readonly org: string; readonly app?: string };
  readonly actions: readonly RegistryAction[];
};

const mostScopes = 100;

/** The one access that a request needs; undefined when a valid token of any scope will do. By method, so that no new endpoint is open. */
export function requiredAccess(
  method: string,
  endpoint: DistributionEndpoint,
): { readonly repository: Repository; readonly action: RegistryAction } | undefined {
  if (endpoint.kind === "ping") return undefined;
  const { repository } = endpoint;
  // an upload session belongs to a pusher, whether he asks for it, ends it or gives it up
  if (endpoint.kind === "startUpload" || "id" in endpoint) return { repository, action: "push" };
  if (method === "GET" || method === "HEAD") return { repository, action: "pull" };
  return { repository, action: method === "DELETE" ? "delete" : "push" };
}

/**
 * The `scope` parameters of a token request (distribution's "Token Scope"), one or several to a parameter. What is of another type, has a
 * name that is none, or no known action asks for nothing. `*` means all actions. Undefined: more than anybody needs.
 */
export function parseScopes(parameters: readonly string[]): readonly Access[] | undefined {
  const texts = parameters.flatMap((text) => text.split(" ")).filter((text) => text !== "");
  if (texts.length > mostScopes) return undefined;
  const asked = new Map<Repository, Set<RegistryAction>>();
  for (const text of texts) {
    // a name has no colon, a host with a port before it would have one
    const [, name, actions] = /^repository:([^:]+):([^:]*)$/.exec(text) ?? [];
    if (name === undefined || !isRepository(name)) continue;
    const words = actions!.split(",");
    const wanted = words.includes("*") ? registryActions : registryActions.filter((action) => words.includes(action));
    asked.set(name, new Set([...(asked.get(name) ?? []), ...wanted]));
  }
  return [...asked].map(([repository, actions]) => ({ repository, actions: registryActions.filter((action) => actions.has(action)) }));
}

/** Never more than is granted, and nothing at all of a repository outside of it. */
export function cutToGrant(asked: readonly Access[], { within, actions: granted }: Grant): readonly Access[] {
  return asked
    .filter(({ repository }) => within === "everything" || isWithin(repository, within))
    .map(({ repository, actions }) => ({ repository, actions: actions.filter((action) => granted.includes(action)) }))
    .filter(({ actions }) => actions.length > 0);
}

export function allows(access: readonly Access[], repository: string, action: RegistryAction): boolean {
  return access.some((entry) => entry.repository === repository && entry.actions.includes(action));
}

/** An app's repository is `<org>/<app>`, with what lies below it; an org's are all below `<org>/`. */
function isWithin(repository: Repository, { org, app }: { readonly org: string; readonly app?: string }): boolean {
  const root = app === undefined ? org : `${org}/${app}`;
  return repository.startsWith(`${root}/`) || (app !== undefined && repository === root);
}
