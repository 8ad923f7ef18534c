import { execFile } from "node:child_process";
import { chmod, copyFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Each call with arguments that no kernel takes; its errno by name of the call, 0 where it was taken all the same. */
export type ProbedCalls = Readonly<Record<string, number>>;

/** `keyctl` with the command KEYCTL_READ. */
const calls = [
  "init_module finit_module delete_module kexec_load open_by_handle_at userfaultfd perf_event_open bpf io_uring_setup",
  "fanotify_init quotactl swapon syslog add_key request_key keyctl reboot acct",
  "settimeofday mount umount2 pivot_root unshare setns fsopen open_tree move_mount",
  "chroot sethostname clone3",
].flatMap((line) => line.split(" "));

export type CallProbe = AsyncDisposable & {
  /** On the host, as the test's own user. */
  onHost(): Promise<ProbedCalls>;
  /** As another process of a machine that runs, with the machine's own filter. */
  inMachine(machine: { readonly pid: number; readonly ctr: readonly [string, ...string[]]; readonly id: string }): Promise<ProbedCalls>;
};

/** A static program of C that makes the calls. */
export async function buildCallProbe(): Promise<CallProbe> {
  const dir = await mkdtemp(path.join(tmpdir(), "slipway-probe-"));
  const [source, program] = [path.join(dir, "probe.c"), path.join(dir, "probe")];
  const lines = calls.map((name) => `  probe("${name}", SYS_${name}, ${name === "keyctl" ? 11 : -1});`);
  await writeFile(
    source,
    `#include <errno.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
static void probe(const char *name, long number, long first) {
  errno = 0;
  long result = syscall(number, first, -1L, -1L, -1L, -1L, -1L);
  printf("%s %d\\n", name, result < 0 ? errno : 0);
}
int main(void) {
${lines.join("\n")}
}
`,
  );
  await run("gcc", ["-static", "-o", program, source]);
  return {
    onHost: async () => parse((await run(program)).stdout),
    async inMachine({ pid, ctr: [ctr, ...args], id }) {
      const inside = "/tmp/probe";
      await copyFile(program, `/proc/${pid}/root${inside}`);
      await chmod(`/proc/${pid}/root${inside}`, 0o755);
      const { stdout } = await run(ctr, [...args, "tasks", "exec", "--exec-id", `probe-${process.pid}`, id, inside]);
      return parse(stdout);
    },
    [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }),
  };
}

function parse(stdout: string): ProbedCalls {
  const lines = stdout.trim().split("\n");
  return Object.fromEntries(lines.map((line) => line.split(" ")).map(([name, errno]) => [name!, Number(errno)]));
}
