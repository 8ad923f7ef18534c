import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import type { Readable } from "node:stream";
import { createRegistryApp } from "../../../../registry/app.ts";
import { formatDeployToken, generateDeployToken, hashSecret } from "../../../../config/deploy-token.ts";
import { type DeployTokenRecord, createDeployTokens } from "../../../../registry/auth/deploy-tokens.ts";
import { createRegistryAuth } from "../../../../registry/auth/registry-auth.ts";
import { type Bucket, createBucket } from "../../../../registry/bucket/bucket.ts";
import { openS3Store } from "../../../../registry/s3-store.ts";
import { anyFreePort } from "../../../../stack/free-port.ts";
import { type ScratchBucket, openScratchBucket } from "../scratch-bucket.ts";

export type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string };

export type GuardedRegistry = AsyncDisposable & {
  readonly url: string;
  readonly port: number;
  readonly bucket: Bucket;
  readonly scratch: ScratchBucket;
  readonly systemToken: string;
  /** Keys of the bucket but for those of access control. */
  stored(): Promise<string[]>;
  send(method: string, path: string, headers?: Record<string, string>, body?: Buffer | string): Promise<Answer>;
  /** A deploy token as `docker login` takes it. */
  deployToken(fields: Partial<DeployTokenRecord>): Promise<{ readonly id: string; readonly password: string }>;
  askToken(password: string, query: string, username?: string): Promise<Answer>;
  /** A header with an access token for these scopes, as far as the password is good for them. */
  bearer(password: string, ...scopes: string[]): Promise<{ authorization: string }>;
};

const signal = AbortSignal.timeout(600_000);

/** A registry with `auth: "tokens"` in this process, over a bucket of its own or beside another one. */
export async function openGuardedRegistry(beside?: { readonly scratch: ScratchBucket }): Promise<GuardedRegistry> {
  const scratch = beside?.scratch ?? (await openScratchBucket());
  const bucket = createBucket({ s3: scratch.s3, bucket: scratch.bucket });
  const store = openS3Store(scratch);
  const port = await anyFreePort();
  const url = `http://127.0.0.1:${port}`;
  const systemToken = `slipway_system_${randomBytes(32).toString("base64url")}`;
  const app = createRegistryApp({ ...scratch, store, auth: createRegistryAuth({ bucket, url, systemToken }) });
  await app.listen({ host: "127.0.0.1", port });
  const tokens = createDeployTokens(bucket);

  const send: GuardedRegistry["send"] = async (method, path, headers = {}, body) => {
    const request = httpRequest({ host: "127.0.0.1", port, method, path, headers });
    request.end(body);
    const [response] = (await once(request, "response")) as [Readable & { statusCode: number; headers: IncomingHttpHeaders }];
    const text = Buffer.concat((await response.toArray()) as Buffer[]).toString();
    return { status: response.statusCode, headers: response.headers, text };
  };
  const askToken: GuardedRegistry["askToken"] = (password, query, username = "token") =>
    send("GET", `/token?${query}`, { authorization: `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}` });

  return {
    url,
    port,
    bucket,
    scratch,
    systemToken,
    send,
    askToken,
    stored: async () => (await scratch.keys()).filter((key) => !key.startsWith("auth/")),
    deployToken: async (fields) => {
      const token = generateDeployToken();
      const record = { name: "test", org: "acme", actions: ["pull" as const], createdAtMs: Date.now(), ...fields };
      await tokens.create({ ...record, id: token.id, secretSha256: hashSecret(token.secret) }, signal);
      return { id: token.id, password: formatDeployToken(token) };
    },
    bearer: async (password, ...scopes) => {
      const username = password === systemToken ? "slipway" : "token";
      const { status, text } = await askToken(password, scopes.map((scope) => `scope=${encodeURIComponent(scope)}`).join("&"), username);
      if (status !== 200) throw new Error(`no token: ${status} ${text}`);
      return { authorization: `Bearer ${(JSON.parse(text) as { token: string }).token}` };
    },
    [Symbol.asyncDispose]: async () => {
      await app.close();
      await store[Symbol.asyncDispose]();
      if (beside === undefined) await scratch[Symbol.asyncDispose]();
    },
  };
}
