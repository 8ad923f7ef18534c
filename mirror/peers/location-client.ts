import { z } from "zod";
import { discard, readWhole, refusal } from "../../oci/client/answer.ts";
import { type Credentials, basicAuthorization } from "../../oci/client/bearer-tokens.ts";
import type { HttpAnswer, HttpExchange } from "../../oci/client/http-exchange.ts";
import type { Digest } from "../../oci/digest.ts";
import type { Repository } from "../../oci/repository.ts";

/** Another host's mirror. */
export type Peer = { readonly host: string; readonly url: string };

/** Which hosts have an image, as the registry keeps it. Everything rejects with `UpstreamError`, or with the signal's reason. */
export type LocationClient = {
  find(repository: Repository, digest: Digest, signal: AbortSignal): Promise<readonly Peer[]>;
  put(repository: Repository, digest: Digest, peer: Peer, signal: AbortSignal): Promise<void>;
  remove(repository: Repository, digest: Digest, host: string, signal: AbortSignal): Promise<void>;
};

export type LocationClientOptions = { readonly exchange: HttpExchange; readonly registry: URL; readonly credentials: Credentials };

const answerLimitBytes = 64 * 1024;
const answered = z.object({
  locations: z.array(z.object({ host: z.string(), url: z.url({ protocol: /^https?$/ }) })).max(100),
});

export function createLocationClient({ exchange, registry, credentials }: LocationClientOptions): LocationClient {
  const authorization = basicAuthorization(credentials);
  const send = (method: string, path: string, signal: AbortSignal, body?: object): Promise<HttpAnswer> => {
    const url = new URL(`/slipway/v1/locations/${path}`, registry);
    if (body === undefined) return exchange.send({ method, url, headers: { authorization } }, signal);
    const bytes = Buffer.from(JSON.stringify(body));
    const headers = { authorization, "content-type": "application/json", "content-length": bytes.length };
    return exchange.send({ method, url, headers, body: bytes }, signal);
  };
  const change = async (answer: HttpAnswer): Promise<void> => {
    if (answer.status !== 204) throw await refusal(answer);
    await discard(answer);
  };
  return {
    async find(repository, digest, signal) {
      const bytes = await readWhole(await send("GET", `${repository}/${digest}`, signal), answerLimitBytes);
      return answered.parse(JSON.parse(bytes.toString("utf8"))).locations;
    },
    put: async (repository, digest, { host, url }, signal) => change(await send("PUT", `${repository}/${digest}/${host}`, signal, { url })),
    remove: async (repository, digest, host, signal) => change(await send("DELETE", `${repository}/${digest}/${host}`, signal)),
  };
}
