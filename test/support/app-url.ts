import { createRouterClient } from "../../machines/router/admin-client.ts";
import type { TestStack } from "./stack.ts";

/** Where the app answers, as the router has it. */
export async function urlOf(stack: Pick<TestStack, "settings">, app: string): Promise<string> {
  const routes = await createRouterClient(stack.settings.router.adminSocket).listRoutes(AbortSignal.timeout(5000));
  const route = routes.find((candidate) => candidate.app === app);
  if (route === undefined) throw new Error(`No route for "${app}" among ${JSON.stringify(routes)}`);
  return route.url;
}
