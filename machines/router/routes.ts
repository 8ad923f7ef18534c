import { readFile } from "node:fs/promises";
import { z } from "zod";
import { urlHost } from "../../config/url-host.ts";

export const targetSchema = z.strictObject({ address: z.union([z.ipv4(), z.ipv6()]), port: z.number().int().min(1).max(65535) });
const name = z.string().regex(/^[a-z0-9][a-z0-9._-]{0,75}$/);
export const routeSchema = z.strictObject({
  org: name,
  app: name,
  /** where the app listens on this host; an app keeps its port */
  port: z.number().int().min(1).max(65535),
  targets: z.array(targetSchema).max(1000),
});
const fileSchema = z.strictObject({ routes: z.array(routeSchema) });

export type Target = Readonly<z.infer<typeof targetSchema>>;
export type Route = Readonly<Omit<z.infer<typeof routeSchema>, "targets">> & { readonly targets: readonly Target[] };

export const routeKey = ({ org, app }: Pick<Route, "org" | "app">): string => `${org}/${app}`;
export const targetKey = ({ address, port }: Target): string => `${urlHost(address)}:${port}`;

export async function readRoutes(file: string): Promise<readonly Route[]> {
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
  return text === undefined ? [] : fileSchema.parse(JSON.parse(text)).routes;
}
