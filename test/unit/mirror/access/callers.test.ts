import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createBuildTokens } from "../../../../mirror/access/build-tokens.ts";
import { createCallers } from "../../../../mirror/access/callers.ts";
import type { DeployLogins } from "../../../../mirror/access/deploy-logins.ts";
import { createFailedLogins } from "../../../../oci/routes/failed-logins.ts";

const systemToken = "of-the-system-0123456789abcdefghij";
const nowMs = 1_000_000_000_000;
const login = (password: string, username = "someone") => ({ username, password });

/** As deploy tokens look, one for each letter. */
const deployToken = (letter: string): string => `slipway_0123456789abcdef_${letter.repeat(43)}`;
const known = deployToken("k");

/** Callers over a registry that knows one deploy token, and what it was asked. */
function lab() {
  const asked: string[] = [];
  const logins: DeployLogins = {
    async actions({ password }) {
      asked.push(password);
      return password === known ? ["pull"] : undefined;
    },
    isRemembered: ({ password }) => password === known && asked.includes(known),
  };
  const tokens = createBuildTokens(randomBytes(32));
  const failed = { failedLogins: createFailedLogins({ most: 3 }), failedAtRegistry: createFailedLogins({ most: 2 }) };
  const callers = createCallers({ tokens, logins, ...failed, systemToken, nowMs: () => nowMs });
  const identify = (password: string, { username = "someone", org = "acme", address = "10.0.0.2" } = {}) =>
    callers.identify(login(password, username), { org, address });
  return { asked, tokens, identify };
}

describe("callers", () => {
  it("are the operator by name and token, and by neither alone", async () => {
    const { identify, asked } = lab();
    expect(await identify(systemToken, { username: "slipway" })).toEqual({ kind: "operator" });
    expect(asked).toEqual([]);
    expect(await identify(systemToken)).toBeUndefined();
    expect(await identify(`${systemToken}x`, { username: "slipway" })).toBeUndefined();
  });

  it("are builds of the socket's org, whatever their user's name; a token of another org is a wrong one, and no registry sees it", async () => {
    const { identify, tokens, asked } = lab();
    const scope = { org: "acme", app: "web" };
    const { token } = await tokens.mint(scope, 60_000, nowMs);
    expect(await identify(token)).toEqual({ kind: "build", scope });
    expect(await identify(token, { org: "rival" })).toBeUndefined();
    expect(asked).toEqual([]);
  });

  it("that are wrong too often are not heard, but for those that were right before", async () => {
    const { identify, tokens, asked } = lab();
    await identify(known);
    for (const guess of ["a", "b", "c"]) expect(await identify(guess)).toBeUndefined();
    await expect(identify("d")).rejects.toMatchObject({ code: "TOOMANYREQUESTS" });
    await expect(identify("a.b.c")).rejects.toMatchObject({ code: "TOOMANYREQUESTS" });
    await expect(identify(deployToken("d"))).rejects.toMatchObject({ code: "TOOMANYREQUESTS" });
    expect(await identify(known)).toMatchObject({ kind: "deploy" });
    expect(asked).toEqual([known, known]);
    expect(await identify("e", { address: "10.0.0.3" })).toBeUndefined();
    const { token } = await tokens.mint({ org: "acme", app: "web" }, 60_000, nowMs);
    expect(await identify(token)).toMatchObject({ kind: "build" });
    expect(await identify(systemToken, { username: "slipway" })).toEqual({ kind: "operator" });
  });

  it("of one org do not use up what the registry takes from this host: after some wrong tokens it is not asked", async () => {
    const { identify, asked } = lab();
    for (const letter of ["a", "b"]) expect(await identify(deployToken(letter), { address: `10.0.0.${letter}` })).toBeUndefined();
    await expect(identify(deployToken("c"), { address: "10.0.0.9" })).rejects.toMatchObject({ code: "TOOMANYREQUESTS" });
    await expect(identify(known)).rejects.toMatchObject({ code: "TOOMANYREQUESTS" });
    expect(asked).toHaveLength(2);
    expect(await identify(known, { org: "rival" })).toMatchObject({ kind: "deploy" });
  });

  it("that are wrong all at once are counted before the registry is asked about the next", async () => {
    const { identify, asked } = lab();
    const guesses = Array.from("abcdefgh", (letter) => identify(deployToken(letter), { address: `10.0.0.${letter}` }));
    const results = await Promise.allSettled(guesses);
    expect(asked).toHaveLength(2);
    expect(results.filter(({ status }) => status === "rejected")).toHaveLength(6);
  });
});
