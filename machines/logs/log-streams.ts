import { open } from "node:fs/promises";
import path from "node:path";
import { pathToFileURL } from "node:url";
import { runcRuntime } from "../runtime.ts";

/** Where a task's stdout and stderr go, as containerd's shims take it. */
export type LogStreams = { readonly stdout: string; readonly stderr: string };

/**
 * One file for both, appended to, so that it can be cut while it is written. runc's shim opens a file of one name once, and closes it when
 * the first of the two streams ends: what came on the other one was lost, often a crashed program's last words. By two names of the file it
 * opens it twice. Other shims get containerd's usual address.
 */
export async function openLogStreams(file: string, runtime: string): Promise<LogStreams> {
  // the shim parses names as addresses, in which these would have to be escaped
  if (runtime !== runcRuntime || /[%\s]/.test(file)) {
    const { href } = pathToFileURL(file);
    return { stdout: href, stderr: href };
  }
  await (await open(file, "a", 0o644)).close();
  return { stdout: file, stderr: `${path.dirname(file)}/./${path.basename(file)}` };
}
