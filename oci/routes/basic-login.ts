export type Login = { readonly username: string; readonly password: string };

/** An `Authorization: Basic` header (RFC 7617); undefined when it is another scheme or has no colon. */
export function parseBasic(authorization: string | undefined): Login | undefined {
  const encoded = /^basic +([A-Za-z0-9+/=_-]+)$/i.exec(authorization ?? "")?.[1];
  const text = encoded === undefined ? "" : Buffer.from(encoded, "base64").toString("utf8");
  const colon = text.indexOf(":");
  return colon < 0 ? undefined : { username: text.slice(0, colon), password: text.slice(colon + 1) };
}
