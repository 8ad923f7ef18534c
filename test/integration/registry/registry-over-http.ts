import { once } from "node:events";
import { type IncomingHttpHeaders, type IncomingMessage, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { createRegistryApp } from "../../../registry/app.ts";
import { openS3Store } from "../../../registry/s3-store.ts";
import { openScratchBucket } from "./scratch-bucket.ts";

export type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly body: Buffer };

export type RegistryOverHttp = AsyncDisposable & {
  send(method: string, path: string, headers?: Record<string, string>, body?: Buffer): Promise<Answer>;
  /** the cause of each answer above 499 */
  readonly failures: readonly object[];
};

/** The registry in this process, on a free port, over a bucket of its own; without tokens. */
export async function openRegistryOverHttp(): Promise<RegistryOverHttp> {
  await using stack = new AsyncDisposableStack();
  const scratch = stack.use(await openScratchBucket());
  const store = stack.use(openS3Store(scratch));
  const failures: object[] = [];
  const log = { info: () => undefined, error: (fields: object) => void failures.push(fields) };
  const app = createRegistryApp({ ...scratch, store, log });
  stack.defer(() => app.close());
  await app.listen({ host: "127.0.0.1", port: 0 });
  const { port } = app.server.address() as AddressInfo;
  const owned = stack.move();
  return {
    failures,
    send: async (method, path, headers = {}, body) => {
      // Node frames no body of a GET or DELETE by itself
      const framed = body === undefined ? headers : { "content-length": String(body.length), ...headers };
      const request = httpRequest({ host: "127.0.0.1", port, method, path, headers: framed });
      request.end(body);
      const [response] = (await once(request, "response")) as [IncomingMessage];
      const chunks = (await response.toArray()) as Buffer[];
      return { status: response.statusCode!, headers: response.headers, body: Buffer.concat(chunks) };
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** The first error that an answer names. */
export function errorOf(answer: Answer): { code: string; message: string; detail?: Record<string, unknown> } | undefined {
  if (answer.body.length === 0) return undefined;
  return (JSON.parse(answer.body.toString()) as { errors: { code: string; message: string; detail?: Record<string, unknown> }[] })
    .errors[0];
}
