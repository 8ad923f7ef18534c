import { DistributionError } from "../../oci/errors.ts";

/**
 * Gives an action its time and not more.
 * @throws DistributionError UNAVAILABLE when it is over, or the reason of `signal`.
 */
export async function within<T>(timeoutMs: number, signal: AbortSignal | undefined, act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const deadline = new AbortController();
  const timer = setTimeout(() => {
    deadline.abort(new DistributionError("UNAVAILABLE", { reason: `the storage took longer than ${timeoutMs / 1000} s` }));
  }, timeoutMs);
  try {
    return await act(signal === undefined ? deadline.signal : AbortSignal.any([signal, deadline.signal]));
  } finally {
    clearTimeout(timer);
  }
}
