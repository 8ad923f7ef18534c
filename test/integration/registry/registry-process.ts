import { once } from "node:events";
import { createServer, request as httpRequest } from "node:http";
import type { AddressInfo } from "node:net";
import { inject } from "vitest";
import * as support from "../../support/registry-process.ts";

export type { RegistryProcess } from "../../support/registry-process.ts";

/** The process `registry` over a bucket of the test's, on the S3 server of the run. */
export function createRegistryProcess(bucket: string, endpoint = inject("s3").endpoint): Promise<support.RegistryProcess> {
  return support.createRegistryProcess({ bucket, s3: { ...inject("s3"), endpoint }, toolsBinDir: inject("toolsBinDir") });
}

export type S3Detour = AsyncDisposable & {
  readonly endpoint: string;
  /** the path and query of each so far */
  readonly requests: readonly string[];
  /** The next PUT whose path has this part never arrives. Resolves when it was sent. */
  holdNext(part: string): Promise<void>;
};

/** The way to S3, on which requests can be held up before they arrive. */
export async function openS3Detour(): Promise<S3Detour> {
  const requests: string[] = [];
  const { hostname, port } = new URL(inject("s3").endpoint);
  let held: { readonly part: string; readonly arrived: () => void } | undefined;
  const server = createServer((request, reply) => {
    const { url = "", method, headers } = request;
    requests.push(url);
    if (held !== undefined && url.includes(held.part) && method === "PUT") {
      held.arrived();
      held = undefined;
      return;
    }
    const onward = httpRequest({ hostname, port, path: url, method, headers }, (answer) => {
      reply.writeHead(answer.statusCode!, answer.headers);
      answer.pipe(reply);
    });
    onward.on("error", () => reply.destroy());
    request.on("error", () => onward.destroy());
    request.pipe(onward);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    holdNext: (part) => new Promise((arrived) => (held = { part, arrived })),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
