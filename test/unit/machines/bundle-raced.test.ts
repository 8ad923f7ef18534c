import { describe, expect, it } from "vitest";
import { bundleRaced } from "../../../machines/bundle-raced.ts";

const bundle = "/run/slipway/containerd/io.containerd.runtime.v2.task/org-a/started-100";

describe("bundleRaced", () => {
  it.each([
    `/containerd.services.tasks.v1.Tasks/Create UNKNOWN: mkdir ${bundle}: file exists`,
    `/containerd.services.tasks.v1.Tasks/Create UNKNOWN: chown ${bundle}: no such file or directory`,
    `symlink /data/io.containerd.runtime.v2.task/org-a/started-100 ${bundle}/work: no such file or directory`,
    `failed to write bundle spec: open ${bundle}/config.json: no such file or directory`,
    `failed to start shim: start failed: open ${bundle}/shim-binary-path: no such file or directory`,
    "failed to start shim: start failed: fork/exec /opt/bin/containerd-shim-runc-v2: no such file or directory",
    "failed to start shim: start failed: open config.json: no such file or directory\n: exit status 1",
  ])("sees another at work on the bundle in %j", (message) => {
    expect(bundleRaced(message)).toBe(true);
  });

  it.each([
    `failed to create shim task: OCI runtime create failed: exec: "nope": stat nope: no such file or directory`,
    `failed to create shim task: mkdir ${bundle}/rootfs/etc/app: no such file or directory`,
    `failed to create shim task: error mounting "/data/hosts" to rootfs at "/etc/hosts": open ${bundle}/rootfs/etc/hosts: not a directory`,
    `failed to start shim: failed to resolve runtime path: runtime "x" binary not installed "shim-x": file does not exist`,
    `mkdir ${bundle}: no space left on device`,
  ])("leaves to its caller %j", (message) => {
    expect(bundleRaced(message)).toBe(false);
  });
});
