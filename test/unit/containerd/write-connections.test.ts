import { once } from "node:events";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { mkdtemp, rm } from "node:fs/promises";
import { Status } from "nice-grpc";
import { expect, it } from "vitest";
import { createWriteConnections } from "../../../containerd/write-connections.ts";
import { openWriteStream } from "../../../containerd/write-stream.ts";
import { WriteAction } from "../../../proto/gen/services/content/v1/content_pb.ts";

/** HTTP/2 frames that let a stream send 16 MiB: more than the socket takes, so that nothing leaves any more, not even a RST_STREAM. */
const wideWindows = Buffer.from("000006040000000000" + "000401000000" + "000004080000000000" + "01000000", "hex");

it("ends a cancelled write at once when containerd stands still and reads nothing any more", async () => {
  const dir = await mkdtemp(path.join(os.tmpdir(), "slipway-write-"));
  const socket = path.join(dir, "containerd.sock");
  const server = net.createServer({ pauseOnConnect: true }, (peer) => peer.write(wideWindows));
  const accepted = once(server, "connection");
  await once(server.listen(socket), "listening");
  const connections = createWriteConnections(socket);
  try {
    const ended = new Promise<{ readonly code: Status } | undefined>((resolve) => {
      const stream = openWriteStream(connections, {}, { onAnswer: () => undefined, onEnd: resolve });
      stream.send({ action: WriteAction.WRITE, ref: "upload-still" }, [Buffer.alloc(4 * 1024 * 1024)]);
      void accepted.then(() => setTimeout(() => stream.cancel(), 50));
    });
    expect((await ended)?.code).toBe(Status.UNAVAILABLE);
  } finally {
    connections[Symbol.dispose]();
    const [peer] = (await accepted) as [net.Socket];
    peer.destroy();
    server.close();
    await rm(dir, { recursive: true, force: true });
  }
});
