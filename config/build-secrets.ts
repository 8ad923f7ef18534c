import type { KeyObject } from "node:crypto";
import { openSealedText, sealText } from "./sealing/sealed-text.ts";

/** By name, which is the `id` of `RUN --mount=type=secret`. */
export type BuildSecrets = ReadonlyMap<string, Buffer>;

/** together; BuildKit itself takes 500 KiB for one */
export const buildSecretsLimitBytes = 256 * 1024;

/** BuildKit looks for these itself: the first one opens the source */
const reserved = /^HTTP_AUTH_(HEADER|TOKEN)_/;

export const buildSecretNameRule = "letters, digits, _ . and -, at most 100, the first one a letter or _, and not HTTP_AUTH_HEADER_…";
export const isBuildSecretName = (name: string): boolean => /^[A-Za-z_][\w.-]{0,99}$/.test(name) && !reserved.test(name);

/** Names and values, for one run alone. */
export function sealBuildSecrets(hostKey: KeyObject, secrets: BuildSecrets, workflowId: string): string {
  const values = [...secrets].map(([name, value]) => [name, value.toString("base64")]);
  return sealText(hostKey, JSON.stringify(values), purposeOf(workflowId));
}

/** @throws Error when they were sealed for another host or run. */
export function openBuildSecrets(hostKey: KeyObject, sealed: string, workflowId: string): BuildSecrets {
  const values = JSON.parse(openSealedText(hostKey, sealed, purposeOf(workflowId))) as [string, string][];
  return new Map(values.filter(([name]) => isBuildSecretName(name)).map(([name, value]) => [name, Buffer.from(value, "base64")]));
}

const purposeOf = (workflowId: string): string => `build secrets of ${workflowId}`;
