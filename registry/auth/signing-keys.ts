import { type CryptoKey, type JWK, exportJWK, generateKeyPair, importJWK } from "jose";
import { z } from "zod";
import type { Bucket } from "../bucket/bucket.ts";
import { formatRecord, parseRecord } from "../bucket/records.ts";
import { storageKeys } from "../bucket/storage-keys.ts";

export const signingAlgorithm = "EdDSA";

const hourMs = 60 * 60 * 1000;
/** a new key takes over at this age of the newest */
const rotateAfterMs = 30 * 24 * hourMs;
/** far longer than a token lives, and than another instance takes to see a new key */
const verifyForMs = rotateAfterMs + 24 * hourMs;
/** how soon an instance signs with a key that another one made, and verifies with none that is gone */
const freshForMs = 60_000;
/** tokens that name keys of nobody's must not have the bucket listed for each */
const lookAgainAfterMs = 1_000;

const signingKeyRecord = z.object({
  createdAtMs: z.number().int().positive(),
  privateKey: z.object({ kty: z.literal("OKP"), crv: z.literal("Ed25519"), x: z.string().length(43), d: z.string().length(43) }),
});

type SigningKey = { readonly id: string; readonly createdAtMs: number; readonly privateKey: CryptoKey; readonly publicKey: CryptoKey };

/** The keys that sign access tokens, the same for every instance over one bucket: the newest signs, all that are young enough verify. */
export type SigningKeys = {
  signer(nowMs: number, signal: AbortSignal): Promise<SigningKey>;
  /** The public half of a key, by the id that a token names; undefined when it is none of ours or too old. */
  verifier(id: string, nowMs: number, signal: AbortSignal): Promise<CryptoKey | undefined>;
};

/** Keys are numbered; whoever finds that one is due writes the next number if it is absent, so that two instances make one key. */
export function createSigningKeys(bucket: Bucket): SigningKeys {
  let keys: readonly SigningKey[] = [];
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  let looking: Promise<void> | undefined;
  let rotating: Promise<void> | undefined;

  const look = (nowMs: number, signal: AbortSignal): Promise<void> => {
    looking ??= readKeys(bucket, signal)
      .then((found) => {
        keys = found;
        lookedAtMs = nowMs;
      })
      .finally(() => (looking = undefined));
    return looking;
  };
  const rotate = async (nowMs: number, signal: AbortSignal): Promise<void> => {
    const next = Number(keys.at(-1)?.id ?? 0) + 1;
    await bucket.putIf({ if: "absent" }, storageKeys.signingKey(next), formatRecord(await generateRecord(nowMs)), signal);
    for (const key of keys) if (isTooOld(key, nowMs)) await bucket.delete(storageKeys.signingKey(Number(key.id)), signal);
    // one that is under way may have begun before the key was there
    await looking?.catch(() => {});
    await look(nowMs, signal);
  };

  /** While the bucket is away, what we know goes on. */
  const freshen = async (nowMs: number, signal: AbortSignal): Promise<void> => {
    if (nowMs - lookedAtMs < freshForMs) return;
    await look(nowMs, signal).catch((error: unknown) => {
      if (keys.length === 0) throw error;
    });
  };

  return {
    signer: async (nowMs, signal) => {
      await freshen(nowMs, signal);
      const newest = keys.at(-1);
      if (newest === undefined || nowMs - newest.createdAtMs >= rotateAfterMs) {
        rotating ??= rotate(nowMs, signal).finally(() => (rotating = undefined));
        await rotating.catch((error: unknown) => {
          if (newest === undefined || isTooOld(newest, nowMs)) throw error;
        });
      }
      return keys.at(-1)!;
    },
    verifier: async (id, nowMs, signal) => {
      // an operator ends a key by removing it
      await freshen(nowMs, signal);
      if (!keys.some((key) => key.id === id) && nowMs - lookedAtMs >= lookAgainAfterMs) await look(nowMs, signal);
      const found = keys.find((key) => key.id === id);
      return found === undefined || isTooOld(found, nowMs) ? undefined : found.publicKey;
    },
  };
}

const isTooOld = ({ createdAtMs }: SigningKey, nowMs: number): boolean => nowMs - createdAtMs >= verifyForMs;

async function generateRecord(createdAtMs: number): Promise<z.infer<typeof signingKeyRecord>> {
  const { privateKey } = await generateKeyPair(signingAlgorithm, { crv: "Ed25519", extractable: true });
  return signingKeyRecord.parse({ createdAtMs, privateKey: await exportJWK(privateKey) });
}

/** All keys in the order of their numbers; read anew, as an operator may have removed one whose number another one has now. */
async function readKeys(bucket: Bucket, signal: AbortSignal): Promise<readonly SigningKey[]> {
  const ids = (await bucket.list(storageKeys.signingKeys, {}, signal)).map((key) => key.slice(storageKeys.signingKeys.length));
  return (await Promise.all(ids.map((id) => readKey(bucket, id, signal)))).filter((key) => key !== undefined);
}

async function readKey(bucket: Bucket, id: string, signal: AbortSignal): Promise<SigningKey | undefined> {
  const record = parseRecord(signingKeyRecord, await bucket.get(storageKeys.signingKey(Number(id)), signal));
  if (record === undefined) return undefined;
  const { d: _private, ...publicJwk } = record.privateKey;
  const [privateKey, publicKey] = await Promise.all([importKey(record.privateKey), importKey(publicJwk)]);
  return { id, createdAtMs: record.createdAtMs, privateKey, publicKey };
}

async function importKey(jwk: JWK): Promise<CryptoKey> {
  return (await importJWK(jwk, signingAlgorithm)) as CryptoKey;
}
