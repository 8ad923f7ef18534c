import { constants } from "node:os";
import { MachineError } from "./errors.ts";

/** "SIGTERM", "TERM" or "15". @throws MachineError PLAN_INVALID */
export function signalNumber(name: string): number {
  if (/^\d{1,2}$/.test(name) && Number(name) >= 1 && Number(name) <= 64) return Number(name);
  const full = name.toUpperCase().startsWith("SIG") ? name.toUpperCase() : `SIG${name.toUpperCase()}`;
  const number = (constants.signals as Readonly<Record<string, number>>)[full];
  if (number !== undefined) return number;
  throw new MachineError("PLAN_INVALID", `Cannot send signal "${name}": expected a name such as SIGTERM or a number from 1 to 64`);
}
