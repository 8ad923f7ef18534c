import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { Readable } from "node:stream";

export type RawAnswer = { readonly status: number; readonly headers: IncomingMessage["headers"]; readonly body: string };

export type RawRequest = {
  readonly method: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** sent chunked, unless the headers have its length */
  readonly body?: Readable;
};

/** One request on a connection of its own, as no client of ours would send it; the answer may come before the body is over. */
export async function rawRequest(url: string, { method, headers = {}, body }: RawRequest): Promise<RawAnswer> {
  const request = httpRequest(url, { method, headers, agent: false });
  // the server may close before all is sent, and has answered by then
  request.on("error", () => undefined);
  const answered = once(request, "response") as Promise<[IncomingMessage]>;
  if (body === undefined) request.end();
  else body.on("error", () => undefined).pipe(request);
  const [response] = await answered;
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  body?.destroy();
  request.destroy();
  return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(parts).toString() };
}

/** Begins an upload and answers its URL. */
export async function beginUpload(baseUrl: string, repository: string): Promise<string> {
  const { status, headers, body } = await rawRequest(`${baseUrl}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  if (status !== 202) throw new Error(`Cannot begin an upload: ${status} ${body}`);
  return `${baseUrl}${headers.location}`;
}

/** So many bytes, the same in every chunk of 1 MiB. */
export function bytesOf(sizeBytes: number): Readable {
  const chunk = Buffer.alloc(1024 * 1024, 7);
  function* chunks() {
    for (let sent = 0; sent < sizeBytes; sent += chunk.length) yield chunk.subarray(0, Math.min(chunk.length, sizeBytes - sent));
  }
  return Readable.from(chunks(), { objectMode: false });
}
