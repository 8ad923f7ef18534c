import { isCheckout } from "../../stack/entry-point.ts";
import { abortOnSignals } from "./abort-on-signals.ts";
import { progressOf } from "./stack-progress.ts";

/**
 * In a checkout, generates the gRPC types when they are missing (installed without scripts) or of other pins (after a pull); a packed
 * install has them compiled. To be called before a module is loaded that imports them.
 */
export async function ensureGrpcTypes(options: { readonly quiet?: boolean }): Promise<void> {
  if (!isCheckout) return;
  const { generateGrpcTypes } = await import("../../tools/grpc-types/generate.ts");
  using interrupt = abortOnSignals();
  await generateGrpcTypes(progressOf(options), interrupt.signal);
}
