export type Challenge = {
  readonly realm: string;
  readonly service: string;
  readonly scopes: readonly string[];
  readonly error?: "invalid_token" | "insufficient_scope";
};

/** A `WWW-Authenticate` header of the token flow (distribution's "Token Authentication Specification"; RFC 6750, 3). */
export function formatChallenge({ realm, service, scopes, error }: Challenge): string {
  const fields = [
    ["realm", realm],
    ["service", service],
    ...(scopes.length === 0 ? [] : [["scope", scopes.join(" ")]]),
    ...(error === undefined ? [] : [["error", error]]),
  ];
  return `Bearer ${fields.map(([name, value]) => `${name}="${quoted(value!)}"`).join(",")}`;
}

/** What cannot stand in a quoted string (RFC 9110, 5.6.4) is left out: nothing may begin a field, or a header, of its own. */
function quoted(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]|["\\]/g, "");
}
