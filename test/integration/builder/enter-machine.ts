import { execFile } from "node:child_process";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Runs a script in a machine's namespaces and its cgroups, as its own root would. */
export async function enterMachine(pid: number, script: string): Promise<{ readonly stdout: string; readonly stderr: string }> {
  // the shell joins the cgroups before it enters: devices are theirs to refuse
  const joins = cgroupFolders(pid).map((folder) => `echo $$ > ${folder}/cgroup.procs`);
  const isMapped = readlinkSync(`/proc/${pid}/ns/user`) !== readlinkSync("/proc/self/ns/user");
  const enter = `exec nsenter --target ${pid}${isMapped ? " --user" : ""} --mount --pid --net --uts --ipc /bin/sh -c '${script}'`;
  return await run("/bin/sh", ["-ec", [...joins, enter].join("\n")], { timeout: 20_000 });
}

function cgroupFolders(pid: number): readonly string[] {
  return readFileSync(`/proc/${pid}/cgroup`, "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(":"))
    .map(([, controllers, folder]) => (controllers === "" ? `/sys/fs/cgroup${folder}` : `/sys/fs/cgroup/${controllers}${folder}`))
    .filter((folder) => existsSync(`${folder}/cgroup.procs`));
}
