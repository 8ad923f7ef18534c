import { type HarnessOptions, type MirrorHarness, type MirroredOrg, openMirrorHarness } from "./mirror-harness.ts";
import { startContainerd } from "./own-containerd.ts";
import { type ScriptedProxy, startScriptedProxy } from "./scripted-proxy.ts";

export type MirrorBelow = AsyncDisposable & {
  /** the org as upstream has it: another mirror, over a containerd of its own */
  readonly above: MirroredOrg;
  /** what stands between the two */
  readonly proxy: ScriptedProxy;
  readonly mirror: MirrorHarness;
  readonly org: MirroredOrg;
};

/** A mirror with an upstream that can be scripted. */
export async function openMirrorBelow(orgName: string, options: HarnessOptions = {}): Promise<MirrorBelow> {
  await using stack = new AsyncDisposableStack();
  const daemon = stack.use(await startContainerd());
  const upstream = stack.use(await openMirrorHarness({ containerdSocket: daemon.socket, upstreamUrl: "none" }));
  const above = await upstream.org(orgName);
  const proxy = stack.use(await startScriptedProxy(above.baseUrl));
  const mirror = stack.use(await openMirrorHarness({ ...options, upstreamUrl: proxy.url }));
  const org = await mirror.org(orgName);
  const opened = stack.move();
  return { above, proxy, mirror, org, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
