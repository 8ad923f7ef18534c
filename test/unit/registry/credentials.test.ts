import { expect, it } from "vitest";
import { createCredentialChecker } from "../../../registry/auth/credentials.ts";
import { formatDeployToken, generateDeployToken, hashSecret } from "../../../config/deploy-token.ts";
import type { DeployTokenRecord } from "../../../registry/auth/deploy-tokens.ts";

const signal = AbortSignal.timeout(8_000);
const minuteMs = 60_000;

it("knows whose password was right before, however long ago, until it is right no more", async () => {
  const token = generateDeployToken();
  const login = { username: "ci", password: formatDeployToken(token) };
  const guess = { username: "ci", password: formatDeployToken({ ...generateDeployToken(), id: token.id }) };
  let record: DeployTokenRecord = {
    id: token.id,
    name: "ci",
    secretSha256: hashSecret(token.secret),
    org: "acme",
    actions: ["pull"],
    createdAtMs: 1,
  };
  const checker = createCredentialChecker({ find: async (id) => (id === record.id ? record : undefined) }, "system-token");
  expect(checker.wasRight(login)).toBe(false);
  expect(await checker.check(guess, 0, signal)).toBeUndefined();
  expect(await checker.check(login, 0, signal)).toMatchObject({ subject: token.id });
  expect([checker.wasRight(login), checker.wasRight(guess)]).toEqual([true, false]);
  // somebody at the same address guesses; what was right stays so
  expect(await checker.check(guess, minuteMs, signal)).toBeUndefined();
  expect([checker.wasRight(login), checker.wasRight(guess)]).toEqual([true, false]);
  record = { ...record, revokedAtMs: 2 };
  expect(await checker.check(login, 2 * minuteMs, signal)).toBeUndefined();
  expect(checker.wasRight(login)).toBe(false);
  expect(checker.wasRight({ username: "slipway", password: "system-token" })).toBe(true);
});
