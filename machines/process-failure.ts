import { MachineError } from "./errors.ts";
import type { MachinePlan } from "./types.ts";

const programReasons: readonly (readonly [RegExp, string])[] = [
  [
    /executable file not found in \$PATH/,
    "no folder of its PATH has it; check the spelling, and that it is copied into the image's last stage",
  ],
  [/no such file or directory/, "the image has no such file; check the path, and that it is copied into the image's last stage"],
  [/permission denied/, "it may not be executed; check that it is a file, its mode (chmod +x) and USER"],
  [/is a directory/, "it is a directory; name the program in it"],
  [/not a directory/, "a part of its path is a file; check the path"],
];

/**
 * What runc says when the image or its command is at fault, so that no repetition helps: PROCESS_INVALID that says what to check.
 * Undefined for every other failure.
 */
export function processFailure(plan: Pick<MachinePlan, "id" | "image">, message: string): MachineError | undefined {
  const program = /exec: "((?:[^"\\]|\\.)*)": (.*)/s.exec(message);
  if (program !== null) {
    const [, name = "", reason = ""] = program;
    const advice = programReasons.find(([pattern]) => pattern.test(reason))?.[1];
    return advice === undefined ? undefined : invalid(plan, `cannot execute "${name}": ${advice}`);
  }
  // runc makes a working directory that is not there
  const workingDir = /error during container init: mkdir (\S+): ([a-z ]+)|chdir to cwd \("([^"]*)"\).* failed: ([a-z ]+)/.exec(message);
  if (workingDir === null) return undefined;
  const [, made, whyNotMade, entered, whyNotEntered] = workingDir;
  const reason = (whyNotMade ?? whyNotEntered ?? "").trim();
  return invalid(plan, `cannot use WORKDIR: "${made ?? entered}": ${reason}; check that it is a directory that USER may enter`);
}

function invalid({ id, image }: Pick<MachinePlan, "id" | "image">, what: string): MachineError {
  return new MachineError("PROCESS_INVALID", `Cannot start machine "${id}" of image "${image.name}": ${what}`);
}
