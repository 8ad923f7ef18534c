import { cancellationSignal } from "@temporalio/activity";
import type { DeployTokenRecord, DeployTokens } from "../registry/auth/deploy-tokens.ts";
import type { DeployTokenView } from "../workflows/types.ts";
import type { DeployTokenActivities } from "./types.ts";

export function createDeployTokenActivities(tokens: DeployTokens): DeployTokenActivities {
  return {
    async writeDeployToken(token) {
      const record = { ...token, actions: [...token.actions] };
      await tokens.create(record, cancellationSignal());
      return toView(record);
    },
    async readDeployTokens({ org }) {
      const records = await tokens.list(cancellationSignal());
      return records.filter((record) => org === undefined || record.org === org).map(toView);
    },
    async markDeployTokenRevoked({ id, revokedAtMs }) {
      const record = await tokens.revoke(id, revokedAtMs, cancellationSignal());
      return record === undefined ? null : toView(record);
    },
  };
}

function toView({ secretSha256: _hash, app, expiresAtMs, revokedAtMs, ...token }: DeployTokenRecord): DeployTokenView {
  return {
    ...token,
    ...(app === undefined ? {} : { app }),
    ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    ...(revokedAtMs === undefined ? {} : { revokedAtMs }),
  };
}
