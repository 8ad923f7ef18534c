import type { PruneDeps } from "./prune-host.ts";
import { readImages, withNamespace } from "./prune-host.ts";

export type Survey = { readonly surveyedAtMs: number; readonly apps: readonly { readonly org: string; readonly app: string }[] };

/** Whose images this host has. Asked before the control plane is: what is pushed after that moment is in no plan. */
export async function surveyImages(deps: PruneDeps, orgs: readonly string[], signal: AbortSignal): Promise<Survey> {
  const surveyedAtMs = Date.now();
  const { images } = await readImages(deps, await withNamespace(deps.containerd, orgs, signal), signal);
  const apps = new Map(images.flatMap(({ org, repository, origin }) => (origin === "fetched" ? [] : [appOf(org, repository)])));
  return { surveyedAtMs, apps: [...apps.values()] };
}

function appOf(org: string, repository: string): readonly [string, { readonly org: string; readonly app: string }] {
  const app = repository.split("/")[1]!;
  return [`${org}/${app}`, { org, app }];
}
