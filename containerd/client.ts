import { Channel, credentials } from "@grpc/grpc-js";
import { type CallOptions, type Client, ClientError, Metadata, Status, createClient } from "nice-grpc";
import { Containers } from "../proto/gen/services/containers/v1/containers_pb.ts";
import { Content } from "../proto/gen/services/content/v1/content_pb.ts";
import { Diff } from "../proto/gen/services/diff/v1/diff_pb.ts";
import { Images } from "../proto/gen/services/images/v1/images_pb.ts";
import { Introspection } from "../proto/gen/services/introspection/v1/introspection_pb.ts";
import { Leases } from "../proto/gen/services/leases/v1/leases_pb.ts";
import { Namespaces } from "../proto/gen/services/namespaces/v1/namespace_pb.ts";
import { Snapshots } from "../proto/gen/services/snapshots/v1/snapshots_pb.ts";
import { Tasks } from "../proto/gen/services/tasks/v1/tasks_pb.ts";
import { Version } from "../proto/gen/services/version/v1/version_pb.ts";
import { type GrpcService, grpcService } from "../proto/grpc-service.ts";
import { createWriteConnections } from "./write-connections.ts";
import { type WriteStream, type WriteStreamEvents, openWriteStream } from "./write-stream.ts";

const containers = grpcService(Containers);
const content = grpcService(Content);
const diff = grpcService(Diff);
const images = grpcService(Images);
const introspection = grpcService(Introspection);
const leases = grpcService(Leases);
const namespaces = grpcService(Namespaces);
const snapshots = grpcService(Snapshots);
const tasks = grpcService(Tasks);
const version = grpcService(Version);

/** containerd's services as seen from one namespace, and optionally under one lease. */
export type ContainerdNamespace = {
  readonly namespace: string;
  /** the lease that holds whatever is created through this view */
  readonly lease?: string;
  readonly containers: Client<GrpcService<typeof Containers>>;
  readonly content: Client<GrpcService<typeof Content>>;
  readonly diff: Client<GrpcService<typeof Diff>>;
  readonly images: Client<GrpcService<typeof Images>>;
  readonly leases: Client<GrpcService<typeof Leases>>;
  readonly snapshots: Client<GrpcService<typeof Snapshots>>;
  readonly tasks: Client<GrpcService<typeof Tasks>>;
  /** Content.Write, for `openContentWriter`: the way of many bytes. */
  openWrite(events: WriteStreamEvents): WriteStream;
};

export type Containerd = AsyncDisposable & {
  readonly socket: string;
  readonly introspection: Client<GrpcService<typeof Introspection>>;
  readonly namespaces: Client<GrpcService<typeof Namespaces>>;
  readonly version: Client<GrpcService<typeof Version>>;
  /** Under `lease`, everything that a call creates is referenced by that lease until it is deleted (garbage-collection.md). */
  namespace(name: string, lease?: string): ContainerdNamespace;
};

/** containerd's own limit is 16 MiB; grpc-js receives 4 MiB by default. */
const messageLimitBytes = 16 * 1024 * 1024;

/** Connects lazily: the first call fails when nobody listens, and later calls connect again. */
export function openContainerd(socket: string): Containerd {
  // nice-grpc's createChannel appends a port to unix addresses
  const channel = new Channel(`unix:${socket}`, credentials.createInsecure(), {
    "grpc.max_receive_message_length": messageLimitBytes,
    "grpc.max_send_message_length": messageLimitBytes,
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.max_reconnect_backoff_ms": 1000,
  });
  const writeConnections = createWriteConnections(socket);
  return {
    socket,
    introspection: createClient(introspection, channel),
    namespaces: createClient(namespaces, channel),
    version: createClient(version, channel),
    namespace(name, lease) {
      const headers = { "containerd-namespace": name, ...(lease === undefined ? {} : { "containerd-lease": lease }) };
      const defaults: Record<"*", CallOptions> = { "*": { metadata: Metadata(headers) } };
      return {
        namespace: name,
        ...(lease === undefined ? {} : { lease }),
        containers: createClient(containers, channel, defaults),
        content: createClient(content, channel, defaults),
        diff: createClient(diff, channel, defaults),
        images: createClient(images, channel, defaults),
        leases: createClient(leases, channel, defaults),
        snapshots: createClient(snapshots, channel, defaults),
        tasks: createClient(tasks, channel, defaults),
        openWrite: (events) => openWriteStream(writeConnections, headers, events),
      };
    },
    async [Symbol.asyncDispose]() {
      writeConnections[Symbol.dispose]();
      channel.close();
    },
  };
}

export function hasStatus(error: unknown, ...codes: readonly Status[]): error is ClientError {
  return error instanceof ClientError && codes.includes(error.code);
}

export const isNotFound = (error: unknown): boolean => hasStatus(error, Status.NOT_FOUND);
export const isAlreadyExists = (error: unknown): boolean => hasStatus(error, Status.ALREADY_EXISTS);

/** Answers undefined instead of containerd's NOT_FOUND; every other error stays one. */
export async function orUndefined<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call;
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Creates the namespace unless it is there. */
export async function ensureNamespace(containerd: Containerd, name: string, signal: AbortSignal): Promise<void> {
  try {
    const metadata = Metadata({ "containerd-namespace": name });
    await containerd.namespaces.create({ namespace: { name } }, { signal, metadata });
  } catch (error) {
    if (!isAlreadyExists(error)) throw error;
  }
}
