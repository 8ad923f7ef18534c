import type { ProcessName } from "../config/ready.ts";

/** How one sees from outside that a process serves. */
export type ReadyProbe =
  | { readonly kind: "tcp"; readonly host: string; readonly port: number }
  | { readonly kind: "unix"; readonly socket: string }
  /** the file holds the pid of the process that serves */
  | { readonly kind: "file"; readonly file: string };

/** One process of the stack, as data. */
export type ProcessSpec = {
  readonly name: ProcessName;
  readonly argv: readonly [string, ...string[]];
  /** added to the environment of the supervisor */
  readonly env: Readonly<Record<string, string>>;
  /** names of processes that must be ready before this one is started */
  readonly after: readonly ProcessName[];
  /** it is ready when all of these hold */
  readonly ready: readonly ReadyProbe[];
  /** from SIGTERM to SIGKILL */
  readonly stopTimeoutMs: number;
};
