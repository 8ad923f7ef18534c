/** What can go wrong with a machine; activities translate the code, people read the message. */
export const machineErrorCodes = [
  "IMAGE_MISSING",
  "IMAGE_NOT_UNPACKED",
  "IMAGE_INVALID",
  "PLAN_INVALID",
  "USER_INVALID",
  "PROCESS_INVALID",
  "NETWORK_FAILED",
  "RUNTIME_MISSING",
  "START_FAILED",
  "STILL_RUNNING",
  "MACHINE_MISSING",
  "MACHINE_EXITED",
  "CHECK_TIMED_OUT",
] as const;
export type MachineErrorCode = (typeof machineErrorCodes)[number];

/** Codes that a repetition of the same call cannot mend. */
const finalCodes: ReadonlySet<MachineErrorCode> = new Set([
  "IMAGE_INVALID",
  "PLAN_INVALID",
  "USER_INVALID",
  "PROCESS_INVALID",
  "MACHINE_EXITED",
  "CHECK_TIMED_OUT",
]);

export class MachineError extends Error {
  override readonly name = "MachineError";
  readonly code: MachineErrorCode;

  constructor(code: MachineErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get retryable(): boolean {
    return !finalCodes.has(this.code);
  }
}
