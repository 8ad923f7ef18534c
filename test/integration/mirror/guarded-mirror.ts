import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type IncomingHttpHeaders, request as httpRequest } from "node:http";
import type { Readable } from "node:stream";
import { listBlobs } from "../../../containerd/content.ts";
import { listImages } from "../../../containerd/images.ts";
import { listLeases } from "../../../containerd/leases.ts";
import { createBuildTokens } from "../../../mirror/access/build-tokens.ts";
import { createCallers } from "../../../mirror/access/callers.ts";
import { createDeployLogins } from "../../../mirror/access/deploy-logins.ts";
import { createOrgAccess } from "../../../mirror/access/org-access.ts";
import { createPublicRegistries } from "../../../mirror/pull/public-registries.ts";
import { createHttpExchange } from "../../../oci/client/http-exchange.ts";
import { digestOf } from "../../../oci/digest.ts";
import { createFailedLogins } from "../../../oci/routes/failed-logins.ts";
import { type MirrorHarness, type MirroredOrg, imageHost, openMirrorHarness, orgName } from "../../support/mirror-harness.ts";
import { type TestImage, imageOf } from "../../support/test-image.ts";
import { type GuardedRegistry, openGuardedRegistry } from "../registry/auth/guarded-registry.ts";

export type Answer = { readonly status: number; readonly headers: IncomingHttpHeaders; readonly text: string };
export type Ask = {
  /** a password, or a whole header */
  readonly as?: string | { readonly authorization: string };
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Buffer | string;
};

export type Holding = { readonly repository: string; readonly image: TestImage; readonly upload: string; readonly token: string };

/** Two orgs, three apps, each with an image whose secret nobody else should see, and with an upload under way. */
export type GuardedMirror = AsyncDisposable & {
  readonly mirror: MirrorHarness;
  readonly registry: GuardedRegistry;
  /** signs what the mirror takes for its own */
  readonly key: Uint8Array;
  readonly tokens: ReturnType<typeof createBuildTokens>;
  readonly acme: MirroredOrg;
  readonly rival: MirroredOrg;
  /** of acme: the attacker's own, and the app beside it; and one of the rival, by the same name as the own */
  readonly own: Holding;
  readonly neighbour: Holding;
  readonly foreign: Holding;
  /** One request on this org's socket, the path sent as it stands. */
  send(org: MirroredOrg, method: string, path: string, ask?: Ask): Promise<Answer>;
  /** What both orgs have in containerd. */
  stored(): Promise<string>;
};

export const basic = (password: string, username = "someone"): string =>
  `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;

export async function openGuardedMirror(secret: string): Promise<GuardedMirror> {
  await using stack = new AsyncDisposableStack();
  const registry = stack.use(await openGuardedRegistry());
  const key = randomBytes(32);
  const tokens = createBuildTokens(key);
  const exchange = createHttpExchange({ connectTimeoutMs: 2_000, idleTimeoutMs: 5_000 });
  stack.defer(() => exchange.close());
  const logins = createDeployLogins({ exchange, registry: new URL(registry.url) });
  const failedLogins = createFailedLogins({ most: 100_000 });
  const callers = createCallers({ tokens, logins, failedLogins, failedAtRegistry: failedLogins, systemToken: registry.systemToken });
  const mirror = stack.use(
    await openMirrorHarness({
      access: (org) => createOrgAccess({ org, imageHost, callers }),
      upstreamUrl: registry.url,
      upstreamCredentials: { username: "slipway", password: registry.systemToken },
      publicRegistry: createPublicRegistries(undefined),
    }),
  );
  const [acme, rival] = [await mirror.org(orgName("acme")), await mirror.org(orgName("rival"))];

  const send: GuardedMirror["send"] = async ({ address }, method, path, { as, headers = {}, body } = {}) => {
    const authorization = typeof as === "string" ? { authorization: basic(as) } : as;
    const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
    const all = { ...length, ...authorization, ...headers };
    const request = httpRequest({ host: address, port: mirror.port, method, path, headers: all, agent: false });
    // the server may close before all is sent, and has answered by then
    request.on("error", () => undefined);
    request.end(body);
    const [response] = (await once(request, "response")) as [Readable & { statusCode: number; headers: IncomingHttpHeaders }];
    const text = Buffer.concat((await response.toArray()) as Buffer[]).toString("latin1");
    return { status: response.statusCode, headers: response.headers, text };
  };

  const hold = async (org: MirroredOrg, app: string): Promise<Holding> => {
    const repository = org.repository(app);
    const image = await imageOf([{ [`${org.name}-${app}`]: secret }], { compressed: false });
    const { token } = await tokens.mint({ org: org.name, app }, 600_000, Date.now());
    const blobs = [...image.layers, image.config];
    const push = (to: (method: string, path: string, body: Buffer, type?: string) => Promise<Answer>) =>
      Promise.all(blobs.map(({ bytes }) => to("POST", `/v2/${repository}/blobs/uploads/?digest=${digestOf(bytes)}`, bytes))).then(() =>
        to("PUT", `/v2/${repository}/manifests/v1`, image.manifest.bytes, image.manifest.descriptor.mediaType),
      );
    const typed = (type?: string) => (type === undefined ? {} : { headers: { "content-type": type } });
    const here = await push((method, path, body, type) => send(org, method, path, { as: token, body, ...typed(type) }));
    const bearer = await registry.bearer(registry.systemToken, `repository:${repository}:pull,push`);
    const above = await push((method, path, body, type) => registry.send(method, path, { ...bearer, ...typed(type).headers }, body));
    if (here.status !== 201 || above.status !== 201)
      throw new Error(`Cannot push: ${here.status} ${here.text}, ${above.status} ${above.text}`);
    const begun = await send(org, "POST", `/v2/${repository}/blobs/uploads/`, { as: token });
    return { repository, image, token, upload: begun.headers.location!.split("/").at(-1)! };
  };
  const [own, neighbour, foreign] = [await hold(acme, "web"), await hold(acme, "api"), await hold(rival, "web")];

  const storedIn = async ({ scratch, name }: MirroredOrg) => {
    const signal = AbortSignal.timeout(30_000);
    const labelled: string[] = [];
    for await (const { digest, labels } of listBlobs(scratch.ns, [], signal))
      labelled.push(`${digest} ${JSON.stringify(Object.entries(labels).toSorted(([one], [other]) => one.localeCompare(other)))}`);
    const images = await listImages(scratch.ns, [], signal);
    const leases = await listLeases(scratch.ns, signal);
    return [
      name,
      ...labelled.toSorted((one, other) => one.localeCompare(other)),
      ...images.map((image) => `${image.name} ${image.target.digest}`).toSorted(),
      leases.length,
    ];
  };
  const opened = stack.move();
  return {
    mirror,
    registry,
    key,
    tokens,
    acme,
    rival,
    own,
    neighbour,
    foreign,
    send,
    stored: async () => JSON.stringify([await storedIn(acme), await storedIn(rival)], undefined, 1),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}
