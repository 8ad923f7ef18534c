import { describe, expect, test } from "vitest";
import type { Settings } from "../../../config/settings.ts";
import { createKeepServing } from "../../../machines/keep-serving.ts";
import { processFailure } from "../../../machines/process-failure.ts";
import { foundGone, type Restarts, triedAgain } from "../../../machines/restart-pause.ts";
import type { RouteView } from "../../../machines/router/router.ts";
import { servingMachines } from "../../../machines/serving-machines.ts";
import type { MachineState } from "../../../machines/types.ts";
import type { Digest } from "../../../oci/digest.ts";

const digest = `sha256:${"0".repeat(64)}` as Digest;

function machine(id: string, address: string, more: Partial<MachineState> = {}): MachineState {
  const [, app = "", group = "", ordinal = "", version = ""] = /^(\w+)-(\w+)-(\d+)-v(\d+)$/.exec(id)!;
  const labels = { "slipway.app": app, "slipway.group": group, "slipway.ordinal": ordinal, "slipway.version": version };
  return { org: "acme", id, digest, labels, state: "running", address, ...more };
}

const route = (app: string, ...addresses: string[]): RouteView => ({
  org: "acme",
  app,
  port: 8080,
  targets: addresses.map((address) => ({ address, port: 80 })),
  url: "",
  listening: true,
  inFlight: {},
});
const ids = (routes: RouteView[], machines: MachineState[]) => servingMachines(routes, machines).map(({ id }) => id);

describe("machines that are kept serving", () => {
  test("are those of the release that a route names, other groups' too", () => {
    const machines = [machine("web-app-0-v2", "10.0.0.2"), machine("web-app-1-v2", "10.0.0.3"), machine("web-jobs-0-v2", "10.0.0.4")];
    expect(ids([route("web", "10.0.0.2")], machines)).toEqual(["web-app-0-v2", "web-app-1-v2", "web-jobs-0-v2"]);
  });

  test("are the newest that are marked as live, of an app that has no route or whose route was not switched yet", () => {
    const live = (found: MachineState) => ({ ...found, labels: { ...found.labels, "slipway.live": "true" } });
    const machines = [
      live(machine("mail-jobs-0-v1", "10.0.0.2")),
      live(machine("mail-jobs-0-v2", "10.0.0.3")),
      live(machine("mail-jobs-1-v2", "10.0.0.4")),
      machine("mail-jobs-0-v3", "10.0.0.5"),
      live(machine("web-app-0-v1", "10.0.0.6")),
      machine("web-app-0-v2", "10.0.0.7"),
    ];
    expect(ids([route("web", "10.0.0.6")], machines)).toEqual(["mail-jobs-0-v2", "mail-jobs-1-v2", "web-app-0-v1"]);
    expect(ids([route("web", "10.0.0.7")], machines).at(-1)).toBe("web-app-0-v2");
  });

  test("are neither an unproven release's, nor a retired one's, nor those of an app or org without a route", () => {
    const machines = [
      machine("web-app-0-v1", "10.0.0.2"),
      machine("web-app-0-v2", "10.0.0.3"),
      machine("web-app-0-v3", "10.0.0.4"),
      machine("api-app-0-v1", "10.0.0.5"),
      machine("web-app-0-v2", "10.0.0.3", { org: "rival" }),
    ];
    expect(servingMachines([route("web", "10.0.0.3")], machines)).toMatchObject([{ id: "web-app-0-v2", org: "acme" }]);
    expect(ids([route("web"), route("shop", "10.0.0.5")], machines)).toEqual([]);
  });
});

describe("keeping machines serving", () => {
  function lab(machines: MachineState[], revive: (id: string) => Promise<MachineState | undefined>) {
    const revived: string[] = [];
    const moved: object[] = [];
    const errors: string[] = [];
    let nowMs = 1_000_000;
    const keepServing = createKeepServing({
      machines: {
        list: async () => machines,
        revive: async (_org, id) => {
          revived.push(id);
          return await revive(id);
        },
      },
      router: {
        listRoutes: async () => [route("web", "10.0.0.2")],
        moveTarget: async (org, app, addresses) => void moved.push({ org, app, ...addresses }),
      },
      settings: { dataDir: "/nonexistent", instance: "ffffffff" } as Settings,
      ensureOrg: async () => undefined,
      log: { info: () => undefined, error: (_fields, message) => void errors.push(message) },
      now: () => nowMs,
    });
    const look = async (afterMs = 0) => {
      nowMs += afterMs;
      await keepServing.look(AbortSignal.timeout(5000));
    };
    return { look, revived, moved, errors };
  }
  const gone = machine("web-app-0-v1", "10.0.0.2", { state: "stopped", exit: { code: 137, atMs: 0 } });

  test("starts a machine again whose process is gone, and moves its target when its address is another", async () => {
    const { look, revived, moved } = lab([gone], async () => ({ ...gone, state: "running", address: "10.0.0.9" }));
    await look();
    expect(revived).toEqual(["web-app-0-v1"]);
    expect(moved).toEqual([{ org: "acme", app: "web", from: "10.0.0.2", to: "10.0.0.9" }]);
  });

  test("leaves what runs, and what sleeps, alone", async () => {
    for (const state of ["running", "paused"] as const) {
      const { look, revived } = lab([machine("web-app-0-v1", "10.0.0.2", { state })], async () => undefined);
      await look();
      expect(revived).toEqual([]);
    }
  });

  test("waits longer and longer for one that goes on failing, and says so", async () => {
    const { look, revived, errors } = lab([gone], () => Promise.reject(new Error("no")));
    await look();
    await look();
    expect(revived).toHaveLength(1);
    await look(1000);
    expect(revived).toHaveLength(2);
    await look();
    await look(1000);
    expect(revived).toHaveLength(2);
    await look(1000);
    expect(revived).toHaveLength(3);
    expect(errors).toEqual(Array.from({ length: 3 }, () => "cannot start a machine again"));
  });
});

describe("the pause before a machine is started again", () => {
  const pauses = (livedMs: number, ends: number) => {
    let state: Restarts | undefined;
    let nowMs = 0;
    return Array.from({ length: ends }, () => {
      const found = foundGone(state, nowMs);
      const pauseMs = found.dueAtMs - nowMs;
      nowMs = found.dueAtMs;
      state = triedAgain(found, nowMs);
      nowMs += livedMs;
      return pauseMs;
    });
  };

  test("grows from nothing to a minute", () => {
    expect(pauses(500, 9)).toEqual([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000]);
  });

  test("begins anew after a minute's life", () => {
    expect(pauses(60_000, 3)).toEqual([0, 0, 0]);
  });
});

describe("what runc says", () => {
  const plan = { id: "web-app-0-v1", image: { name: "registry/acme/web", digest } };
  const create = "OCI runtime create failed: runc create failed: unable to start container process: error during container init: ";

  test.each([
    [`${create}exec: "/no/such": stat /no/such: no such file or directory`, /"\/no\/such".*copied/],
    [`${create}exec: "serve": executable file not found in $PATH`, /"serve".*PATH/],
    [`${create}exec: "/run.sh": permission denied`, /"\/run\.sh".*chmod \+x/],
    [`${create}mkdir /bin/busybox: not a directory`, /WORKDIR.*"\/bin\/busybox": not a directory/],
    [`${create}chdir to cwd ("/root") set in config.json failed: permission denied`, /WORKDIR.*"\/root": permission denied/],
  ])("of the image is final: %s", (message, expected) => {
    const failure = processFailure(plan, message);
    expect(failure).toMatchObject({ code: "PROCESS_INVALID", retryable: false });
    expect(failure?.message).toMatch(expected);
  });

  test.each([
    `${create}remount-propagation: mount dst=/run/x, flags=MS_PRIVATE|MS_REC: permission denied`,
    `${create}error mounting "proc" to rootfs at "/proc": operation not permitted`,
    "connection refused",
  ])("of the host may be tried again: %s", (message) => {
    expect(processFailure(plan, message)).toBeUndefined();
  });
});
