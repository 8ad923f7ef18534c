import type { Intake, UploadIntake } from "../store/intake.ts";
import type { BodyTurns } from "./body-turns.ts";
import type { ByteRate } from "./byte-rate.ts";
import type { ConnectionCounts } from "./connection-counts.ts";
import type { FreeSpace } from "./free-space.ts";
import type { OpenUploads } from "./open-uploads.ts";
import type { OrgQuota } from "./org-quota.ts";

/** How much an org may take of its host, at its sockets and in its uploads. */
export type OrgLimits = {
  readonly connections: ConnectionCounts;
  readonly intake: Intake;
  /** Before a body of an upload is read, whose length the client announces (0: not known). @throws DistributionError */
  admit(announcedBytes: number, signal: AbortSignal): Promise<void>;
};

export type OrgLimitParts = {
  readonly org: string;
  readonly connections: ConnectionCounts;
  readonly uploads: OpenUploads;
  readonly turns: BodyTurns;
  readonly space: FreeSpace;
  readonly rate?: ByteRate;
  readonly quota?: OrgQuota;
};

/** The disk is looked at again after so many bytes of an upload. */
const lookAgainBytes = 4 * 1024 * 1024;

export function createOrgLimits(parts: OrgLimitParts): OrgLimits {
  const { org, connections, uploads, space, quota } = parts;
  return {
    connections,
    async admit(announcedBytes, signal) {
      await space.require(signal, announcedBytes);
      await quota?.require(announcedBytes, signal);
    },
    intake: {
      async open(signal) {
        const counted = uploads.open(org);
        try {
          await quota?.require(0, signal);
          return createUploadIntake(parts, counted);
        } catch (error) {
          counted[Symbol.dispose]();
          throw error;
        }
      },
    },
  };
}

function createUploadIntake({ org, turns, space, rate, quota }: OrgLimitParts, counted: Disposable): UploadIntake {
  const turn = turns.of(org);
  let takenBytes = 0;
  let lookedAtBytes = 0;

  /** What is to be waited for before these bytes, if anything. */
  function conditions(sizeBytes: number, signal: AbortSignal): readonly Promise<void>[] {
    takenBytes += sizeBytes;
    const isDue = takenBytes - lookedAtBytes >= lookAgainBytes;
    if (isDue) lookedAtBytes = takenBytes;
    return [isDue ? space.require(signal) : undefined, quota?.arriving(sizeBytes, signal), rate?.take(sizeBytes, signal)].filter(
      (condition) => condition !== undefined,
    );
  }

  return {
    pass(sizeBytes, write, signal) {
      const waitFor = conditions(sizeBytes, signal);
      if (waitFor.length === 0) return turn.pass(sizeBytes, write, signal);
      return Promise.all(waitFor).then(() => {
        // whoever ended meanwhile would keep a turn that nobody gives back
        signal.throwIfAborted();
        return turn.pass(sizeBytes, write, signal);
      });
    },
    paused: () => turn[Symbol.dispose](),
    stored: (digest, sizeBytes) => quota?.stored(digest, sizeBytes),
    [Symbol.dispose]() {
      turn[Symbol.dispose]();
      counted[Symbol.dispose]();
      quota?.gone(takenBytes);
      takenBytes = 0;
    },
  };
}
