import { randomBytes } from "node:crypto";
import { Duplex } from "node:stream";
import { Client, Metadata, Server, ServerCredentials, type ServiceDefinition, credentials, status } from "@grpc/grpc-js";
import { HealthImplementation, service as healthService } from "grpc-health-check";
import type { BytesMessage } from "../../proto/gen/github.com/moby/buildkit/api/services/control/control_pb.ts";
import { Auth, type CredentialsRequest } from "../../proto/gen/github.com/moby/buildkit/session/auth/auth_pb.ts";
import { type GetSecretRequest, Secrets } from "../../proto/gen/github.com/moby/buildkit/session/secrets/secrets_pb.ts";
import { grpcService } from "../../proto/grpc-service.ts";
import { type Buildkit, controlService } from "./client.ts";
import { deferred } from "../../config/deferred.ts";

export type RegistryCredentials = { readonly username: string; readonly password: string };

/** All that a build may ask its session for: nothing else is answered, and no file is ever served. */
export type SessionOffer = {
  /** by secret id */
  readonly secrets: Readonly<Record<string, string | Uint8Array>>;
  /** by registry host */
  readonly registries: Readonly<Record<string, RegistryCredentials>>;
};

export type BuildSession = Disposable & {
  readonly id: string;
  /** When buildkitd last sent anything; it checks the session's health every 5 s. */
  lastHeardAtMs(): number;
  /** Settles with the reason when buildkitd ends the session; never rejects. */
  readonly ended: Promise<Error | undefined>;
};

const secretsService = grpcService(Secrets);
const authService = grpcService(Auth);

/**
 * Opens BuildKit's session: `Control.Session` is a tunnel in which buildkitd is the client of a gRPC server of ours.
 * The health service is a must: without it buildkitd takes the session for dead after two checks, 5 s apart (session/grpc.go).
 */
export function openSession(buildkit: Buildkit, offer: SessionOffer): BuildSession {
  const id = randomBytes(16).toString("hex");
  const server = createSessionServer(offer);
  const tunnel = openTunnel(buildkit, sessionMetadata(id));
  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  injector.injectConnection(tunnel.stream);
  return {
    id,
    lastHeardAtMs: tunnel.lastHeardAtMs,
    ended: tunnel.ended,
    [Symbol.dispose]: () => {
      tunnel.stream.destroy();
      injector.destroy();
      server.forceShutdown();
    },
  };
}

function createSessionServer(offer: SessionOffer): Server {
  const secrets = new Map(Object.entries(offer.secrets));
  const registries = new Map(Object.entries(offer.registries));
  const unimplemented = (_call: unknown, answer: (error: object) => void) => answer({ code: status.UNIMPLEMENTED });
  const server = new Server();
  server.addService(secretsService as unknown as ServiceDefinition, {
    getSecret: (call: { request: GetSecretRequest }, answer: (error: object | null, value?: object) => void) => {
      const secret = secrets.get(call.request.ID);
      if (secret === undefined) answer({ code: status.NOT_FOUND, details: `the build was not given a secret "${call.request.ID}"` });
      else answer(null, { data: Buffer.from(secret) });
    },
  });
  server.addService(authService as unknown as ServiceDefinition, {
    // no username and no secret means anonymous
    credentials: (call: { request: CredentialsRequest }, answer: (error: null, value: object) => void) => {
      const found = registries.get(call.request.Host);
      answer(null, found === undefined ? {} : { Username: found.username, Secret: found.password });
    },
    fetchToken: unimplemented,
    getTokenAuthority: unimplemented,
    verifyTokenAuthority: unimplemented,
  });
  new HealthImplementation({ "": "SERVING" }).addToServer(server);
  return server;
}

function sessionMetadata(id: string): Metadata {
  const metadata = new Metadata();
  metadata.set("x-docker-expose-session-uuid", id);
  metadata.set("x-docker-expose-session-name", "slipway");
  for (const service of [secretsService, authService, { check: healthService.Check }]) {
    for (const method of Object.values(service)) {
      if (method !== undefined) metadata.add("x-docker-expose-session-grpc-method", method.path);
    }
  }
  return metadata;
}

function openTunnel(buildkit: Buildkit, metadata: Metadata) {
  const { promise: ended, resolve: end } = deferred<Error | undefined>();
  let lastHeardAtMs = Date.now();
  // the address is not used: the channel is the one that the solve runs over
  const client = new Client("", credentials.createInsecure(), { channelOverride: buildkit.channel });
  const session = controlService.session;
  const call = client.makeBidiStreamRequest<{ data: Uint8Array }, BytesMessage>(
    session.path,
    session.requestSerialize,
    session.responseDeserialize,
    metadata,
  );
  const stream = new Duplex({
    read: () => void call.resume(),
    write: (chunk: Buffer, _encoding, done) => void call.write({ data: chunk }, done),
    final: (done) => {
      call.end();
      done();
    },
    destroy: (error, done) => {
      call.cancel();
      done(error);
    },
  });
  call.on("data", (message: BytesMessage) => {
    lastHeardAtMs = Date.now();
    if (!stream.push(message.data)) call.pause();
  });
  const finish = (error?: Error) => {
    end(error);
    stream.push(null);
    stream.destroy();
  };
  call.on("end", () => finish());
  call.on("error", finish);
  return { stream, ended, lastHeardAtMs: () => lastHeardAtMs };
}
