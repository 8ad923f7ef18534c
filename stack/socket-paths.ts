import { orgNameMaxLength } from "../config/org-name.ts";
import { instancePaths } from "../config/paths.ts";
import type { Settings } from "../config/settings.ts";
import { StackError } from "./stack-error.ts";

/** `sun_path` of unix(7) holds 108 bytes, the last of them zero; a longer path is cut off without a word. */
const socketPathMaxBytes = 107;

/** The socket with the longest path that an instance may come to have below its run folder. */
export const longestSocket = (settings: Settings): string => instancePaths.builderSocket(settings, "x".repeat(orgNameMaxLength));

/** @throws StackError for a run folder, or a containerd named by the operator, whose sockets nobody could connect to. */
export function requireShortSockets(settings: Settings): void {
  const { runDir, containerd } = settings;
  const longest = Buffer.byteLength(longestSocket(settings));
  if (longest > socketPathMaxBytes) {
    const most = socketPathMaxBytes - (longest - Buffer.byteLength(runDir));
    throw new StackError(
      `Cannot use "${runDir}" as run folder: its path is ${Buffer.byteLength(runDir)} bytes long, expected at most ${most}, as a socket ` +
        `like "${instancePaths.builderSocket(settings, "<org>")}" must stay within ${socketPathMaxBytes} bytes ` +
        `for orgs of up to ${orgNameMaxLength} characters. Name a shorter one`,
    );
  }
  const socketBytes = Buffer.byteLength(containerd.socket);
  if (socketBytes > socketPathMaxBytes) {
    throw new StackError(
      `Cannot use containerd at "${containerd.socket}": the path is ${socketBytes} bytes long, expected at most ${socketPathMaxBytes}`,
    );
  }
}
