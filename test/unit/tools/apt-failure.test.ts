import { expect, test } from "vitest";
import { aptFailure, lockHolder } from "../../../tools/apt-failure.ts";

const packages = ["gcc", "libseccomp-dev"];
const again = "apt-get update && apt-get install -y --no-install-recommends gcc libseccomp-dev";
const unlocated = "E: Unable to locate package libseccomp-dev";
const unresolved = `E: Failed to fetch http://mirror.example/debian/dists/bookworm/InRelease  Temporary failure resolving 'mirror.example'
E: Some index files failed to download. They have been ignored, or old ones used instead.`;
const locked = `E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 812 (unattended-upgr)
E: Unable to acquire the dpkg frontend lock (/var/lib/dpkg/lock-frontend), is another process using it?`;

test("packages that apt does not know are named, and what the sources need", () => {
  expect(aptFailure({ packages, update: undefined, install: `Cannot finish "apt-get": exit code 100\n  ${unlocated}` })).toBe(
    `Cannot install the Debian packages gcc libseccomp-dev: apt knows no "libseccomp-dev"; look at /etc/apt/sources.list (Debian needs main, Ubuntu main and universe), then run: ${again}`,
  );
  const withoutCandidate = "E: Package 'gcc' has no installation candidate\nE: Package libseccomp-dev has no installation candidate";
  expect(aptFailure({ packages, update: undefined, install: withoutCandidate })).toContain('apt knows no "gcc", "libseccomp-dev";');
});

test("without a network the address that was not reached is named, not the packages that are not known for that reason", () => {
  const message = aptFailure({ packages, update: `  ${unresolved}`, install: unlocated });
  expect(message).toBe(
    `Cannot install the Debian packages gcc libseccomp-dev: failed to fetch http://mirror.example/debian/dists/bookworm/InRelease  Temporary failure resolving 'mirror.example'; look at the network, http_proxy and /etc/apt/sources.list, then run: ${again}`,
  );
});

test("a package that cannot be fetched although the lists are there is named", () => {
  const install = "E: Failed to fetch http://mirror.example/pool/gcc.deb  404  Not Found [IP: 10.0.0.1 80]";
  expect(aptFailure({ packages, update: undefined, install })).toContain(
    ": failed to fetch http://mirror.example/pool/gcc.deb  404  Not Found",
  );
});

test("who holds apt's lock is named", () => {
  expect(lockHolder(locked)).toBe("process 812 (unattended-upgr)");
  expect(lockHolder("E: Could not get lock /var/lib/apt/lists/lock - open (11: Resource temporarily unavailable)")).toBe("another program");
  expect(lockHolder(unresolved)).toBeUndefined();
  expect(aptFailure({ packages, update: undefined, install: locked })).toBe(
    `Cannot install the Debian packages gcc libseccomp-dev: process 812 (unattended-upgr) has used apt for 10 minutes; wait for its end, then run: ${again}`,
  );
});

test("a dpkg that was interrupted is to be set right first", () => {
  const install = "E: dpkg was interrupted, you must manually run 'dpkg --configure -a' to correct the problem.";
  expect(aptFailure({ packages, update: undefined, install })).toContain(`run: dpkg --configure -a && ${again}`);
});

test("anything else is shown as apt said it", () => {
  const message = aptFailure({ packages, update: undefined, install: "E: You don't have enough free space in /var/cache/apt/archives/." });
  expect(message).toContain("enough free space");
  expect(message).toContain(`run: ${again}`);
});
