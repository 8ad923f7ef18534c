export type BearerChallenge = { readonly realm: URL; readonly service?: string; readonly scope?: string };

/** A `WWW-Authenticate: Bearer realm="…",service="…",scope="…"` header; undefined when it is another scheme or names no realm. */
export function parseBearerChallenge(header: string | undefined): BearerChallenge | undefined {
  const match = /^\s*Bearer\s+(.*)$/is.exec(header ?? "");
  if (match === null) return undefined;
  const fields = new Map<string, string>();
  for (const [, name, quoted, plain] of match[1]!.matchAll(/([a-zA-Z_]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))/g)) {
    fields.set(name!.toLowerCase(), (quoted ?? plain ?? "").replace(/\\(.)/g, "$1"));
  }
  const realm = fields.get("realm");
  if (realm === undefined || !URL.canParse(realm)) return undefined;
  const [service, scope] = [fields.get("service"), fields.get("scope")];
  return { realm: new URL(realm), ...(service === undefined ? {} : { service }), ...(scope === undefined ? {} : { scope }) };
}

/** The address that a token for this challenge is fetched from. */
export function tokenUrl({ realm, service, scope }: BearerChallenge): URL {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set("service", service);
  if (scope !== undefined) url.searchParams.set("scope", scope);
  return url;
}
