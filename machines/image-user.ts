import { MachineError } from "./errors.ts";
import type { SpecUser } from "./oci-spec.ts";

/** /etc/passwd and /etc/group of the image; undefined when it has none. Read only when a name or a primary group asks for it. */
export type AccountFiles = { readonly passwd: () => Promise<string | undefined>; readonly group: () => Promise<string | undefined> };

/** 2^31 - 1: larger numbers wrap around in places (CVE-2024-40635). */
const maxId = 2_147_483_647;

/**
 * The numbers behind `USER user[:group]` (OCI image-spec, config.md).
 * @throws MachineError USER_INVALID
 */
export async function resolveImageUser(user: string, files: AccountFiles): Promise<SpecUser> {
  if (user === "" || user === "0" || user === "root" || user === "0:0") return { uid: 0, gid: 0 };
  const [name = "", groupName] = user.split(":", 2);
  const entry = await passwdEntry(name, files);
  if (groupName !== undefined && groupName !== "") return { uid: entry.uid, gid: await groupId(groupName, user, files) };
  const additionalGids = entry.name === undefined ? [] : await groupsOf(entry.name, files);
  return { uid: entry.uid, gid: entry.gid, ...(additionalGids.length === 0 ? {} : { additionalGids }) };
}

async function passwdEntry(name: string, files: AccountFiles): Promise<{ uid: number; gid: number; name?: string }> {
  const text = await files.passwd();
  const rows = rowsOf(text);
  if (/^\d+$/.test(name)) {
    const uid = numberedId(name, name);
    const row = rows.find((fields) => fields[2] === name);
    return row === undefined ? { uid, gid: 0 } : { uid, gid: numberedId(row[3] ?? "", name), name: row[0] ?? "" };
  }
  const row = rows.find((fields) => fields[0] === name);
  if (row === undefined) throw unknown("user", name, "/etc/passwd");
  return { uid: numberedId(row[2] ?? "", name), gid: numberedId(row[3] ?? "", name), name };
}

async function groupId(group: string, user: string, files: AccountFiles): Promise<number> {
  if (/^\d+$/.test(group)) return numberedId(group, user);
  const row = rowsOf(await files.group()).find((fields) => fields[0] === group);
  if (row === undefined) throw unknown("group", group, "/etc/group");
  return numberedId(row[2] ?? "", user);
}

async function groupsOf(name: string, files: AccountFiles): Promise<readonly number[]> {
  const rows = rowsOf(await files.group()).filter((fields) => (fields[3] ?? "").split(",").includes(name));
  return rows.map((fields) => numberedId(fields[2] ?? "", name));
}

function rowsOf(text: string | undefined): readonly (readonly string[])[] {
  return (text ?? "").split("\n").map((line) => line.trim().split(":"));
}

function numberedId(digits: string, user: string): number {
  const id = /^\d{1,10}$/.test(digits) ? Number(digits) : Number.NaN;
  if (id <= maxId) return id;
  throw new MachineError(
    "USER_INVALID",
    `Cannot run as USER "${user.slice(0, 80)}": id "${digits.slice(0, 20)}" is not within 0 to ${maxId}`,
  );
}

function unknown(kind: string, name: string, file: string): MachineError {
  return new MachineError("USER_INVALID", `Cannot run as USER: the image's ${file} has no ${kind} "${name.slice(0, 80)}"`);
}
