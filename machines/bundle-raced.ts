/**
 * Whether a task's creation failed because something else had hold of its bundle, the folder containerd makes for it. containerd deletes
 * the bundle of a creation that broke off by name, up to three times: as its shim goes, with the shim, and when the creation returns. The
 * first frees the name, so the next may find the folder that a new creation has just made. No error of these has a code of its own.
 */
export function bundleRaced(message: string): boolean {
  return taken.test(message) || lost.test(message) || lostByShim.test(message);
}

const bundle = String.raw`\S*io\.containerd\.runtime\.v2\.task/[^/\s]+/[^/\s:]+`;
const taken = new RegExp(`mkdir ${bundle}: file exists`);
/** What containerd keeps in the folder itself; what lies beneath `rootfs` is the image's. */
const lost = new RegExp(`${bundle}(?:/[\\w.-]+)?: no such file or directory`);
/** Before its shim runs, a task has met nothing of its image. */
const lostByShim = /failed to start shim: .*no such file or directory/s;
