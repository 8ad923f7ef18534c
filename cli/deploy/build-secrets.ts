import { readFileSync } from "node:fs";
import { type BuildSecrets, buildSecretNameRule, buildSecretsLimitBytes, isBuildSecretName } from "../../config/build-secrets.ts";
import { CliError } from "../errors.ts";

export type BuildSecretOptions = {
  /** `NAME`, of the environment, or `NAME=value` */
  readonly buildSecret?: readonly string[];
  /** `NAME=path` */
  readonly buildSecretFile?: readonly string[];
};

/** Where the values come from; no message of this holds one. @throws CliError */
export function readBuildSecrets(options: BuildSecretOptions, environment: NodeJS.ProcessEnv): BuildSecrets {
  const secrets = new Map<string, Buffer>();
  const add = (name: string, value: Buffer): void => {
    if (!isBuildSecretName(name)) throw new CliError(`Cannot use build secret "${name}": expected ${buildSecretNameRule}`);
    if (secrets.has(name)) throw new CliError(`Cannot use build secret "${name}": it is given twice`);
    secrets.set(name, value);
  };
  for (const given of options.buildSecret ?? []) {
    const at = given.indexOf("=");
    const name = at < 0 ? given : given.slice(0, at);
    const value = at < 0 ? environment[name] : given.slice(at + 1);
    if (value === undefined)
      throw new CliError(`Cannot read build secret "${name}": expected an environment variable of that name, or NAME=value`);
    add(name, Buffer.from(value));
  }
  for (const given of options.buildSecretFile ?? []) {
    const at = given.indexOf("=");
    if (at < 1) throw new CliError(`Cannot read --build-secret-file "${given}": expected NAME=PATH`);
    add(given.slice(0, at), readFile(given.slice(at + 1)));
  }
  const sizeBytes = [...secrets.values()].reduce((sum, value) => sum + value.length, 0);
  if (sizeBytes > buildSecretsLimitBytes)
    throw new CliError(`Cannot use build secrets of ${sizeBytes} bytes: expected at most ${buildSecretsLimitBytes} together`);
  return secrets;
}

function readFile(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (cause) {
    throw new CliError(`Cannot read build secret file "${file}": ${(cause as NodeJS.ErrnoException).code}`, { cause });
  }
}
