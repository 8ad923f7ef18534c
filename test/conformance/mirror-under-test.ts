import { loopbackAddress } from "../support/mirror-harness.ts";
import { createMirrorProcess } from "../support/mirror-process.ts";
import { startContainerd } from "../support/own-containerd.ts";
import { type RegistryUnderTest, openRegistryUnderTest } from "./registry-under-test.ts";

/** The suite's repositories are below this org. */
const org = "conformance";

/**
 * A mirror over a containerd of its own, before a registry as its upstream, which what the mirror lacks is asked for; all end with it.
 * The credentials are the operator's.
 */
export async function openMirrorUnderTest(toolsBinDir: string): Promise<RegistryUnderTest> {
  await using stack = new AsyncDisposableStack();
  const upstream = stack.use(await openRegistryUnderTest(toolsBinDir));
  const containerd = stack.use(await startContainerd({ toolsBinDir, release: "2.4", diskBytes: 8 * 1024 ** 3 }));
  const mirror = stack.use(
    await createMirrorProcess(
      containerd.socket,
      (settings) => ({
        ...settings,
        registry: { ...settings.registry, url: upstream.url, systemToken: upstream.credentials.password },
        mirror: { ...settings.mirror, auth: "tokens" },
      }),
      toolsBinDir,
    ),
  );
  await mirror.start();
  const address = loopbackAddress();
  await mirror.admin.putOrg(org, [address], AbortSignal.timeout(30_000));
  const owned = stack.move();
  return {
    url: `http://${address}:${mirror.settings.mirror.port}`,
    credentials: upstream.credentials,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
