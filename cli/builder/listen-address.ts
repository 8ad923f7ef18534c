import { lstat, mkdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { CliError } from "../errors.ts";

export type ListenAddress =
  | { readonly kind: "unix"; readonly path: string }
  /** port 0: any that is free */
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** as the kernel has it (unix(7)) */
const longestSocketPath = 107;

/**
 * `unix:PATH`, `tcp` or `tcp:PORT`, the latter two on 127.0.0.1.
 * @throws CliError when it is none of them.
 */
export function parseListenAddress(text: string): ListenAddress {
  const [, file] = /^unix:(?:\/\/)?(.+)$/.exec(text) ?? [];
  if (file !== undefined) {
    const absolute = path.resolve(file);
    if (Buffer.byteLength(absolute) <= longestSocketPath) return { kind: "unix", path: absolute };
    throw new CliError(`Cannot listen on "${absolute}": a socket's path has at most ${longestSocketPath} bytes`);
  }
  const [, port] = /^tcp(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (text === "tcp" || (port !== undefined && Number(port) <= 65_535)) return { kind: "tcp", host: "127.0.0.1", port: Number(port ?? 0) };
  throw new CliError(`Cannot listen on "${text}": expected unix:PATH, tcp or tcp:PORT`);
}

/** A socket in a folder that nobody else of this machine can enter. @throws CliError when the folder is somebody else's. */
export async function defaultListenAddress(org: string, env: NodeJS.ProcessEnv): Promise<ListenAddress> {
  const dir = env.XDG_RUNTIME_DIR ? path.join(env.XDG_RUNTIME_DIR, "slipway") : path.join(tmpdir(), `slipway-${process.getuid?.() ?? 0}`);
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const { uid, mode } = await lstat(dir);
  if (uid === process.getuid?.() && (mode & 0o077) === 0) return parseListenAddress(`unix:${path.join(dir, `builder-${org}.sock`)}`);
  throw new CliError(`Cannot listen in "${dir}": expected a folder of your own that nobody else may enter`, {
    tryCommand: "slipway proxy builder --listen unix:PATH",
  });
}

/** As BuildKit's clients take it. */
export const addressText = (address: ListenAddress): string =>
  address.kind === "unix" ? `unix://${address.path}` : `tcp://${address.host}:${address.port}`;
