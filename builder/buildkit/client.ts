import { Channel, credentials } from "@grpc/grpc-js";
import { type Client, createClient } from "nice-grpc";
import { Control } from "../../proto/gen/github.com/moby/buildkit/api/services/control/control_pb.ts";
import { type GrpcService, grpcService } from "../../proto/grpc-service.ts";

export const controlService = grpcService(Control);

/** buildkitd accepts 16 MiB; grpc-js receives 4 MiB by default. */
const messageLimitBytes = 16 * 1024 * 1024;

/** One connection to a buildkitd. */
export type Buildkit = Disposable & {
  readonly channel: Channel;
  readonly control: Client<GrpcService<typeof Control>>;
};

/** Connects lazily to `host:port`; an address that refuses is tried again at once, as a builder that starts is expected to. */
export function openBuildkit(address: string): Buildkit {
  const channel = new Channel(address, credentials.createInsecure(), {
    "grpc.max_receive_message_length": messageLimitBytes,
    "grpc.max_send_message_length": messageLimitBytes,
    "grpc.initial_reconnect_backoff_ms": 20,
    "grpc.max_reconnect_backoff_ms": 20,
    "grpc.enable_http_proxy": 0,
  });
  return {
    channel,
    control: createClient(controlService, channel),
    [Symbol.dispose]: () => channel.close(),
  };
}
