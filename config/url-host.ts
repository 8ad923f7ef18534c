/** A host as it stands in a URL, or before a port: IPv6 addresses in brackets (RFC 3986, 3.2.2). */
export const urlHost = (host: string): string => (host.includes(":") ? `[${host}]` : host);
