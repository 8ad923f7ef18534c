import { performance } from "node:perf_hooks";
import type { S3Client } from "@aws-sdk/client-s3";
import { LeanS3Client } from "../bucket/lean-s3-client.ts";
import { tracing } from "../../oci/tracing.ts";
import type { RegistryMetrics, S3Outcome } from "./metrics.ts";

/** Counts and times each call of S3, and makes it a span of the trace it is made in. */
export function observeS3Calls(s3: S3Client, metrics?: Pick<RegistryMetrics, "s3Call">): void {
  const observed = async <T>(operation: string, input: object, act: () => Promise<T>): Promise<T> => {
    const startedAt = performance.now();
    const finish = (outcome: S3Outcome) => metrics?.s3Call(operation, outcome, performance.now() - startedAt);
    const fields = { "rpc.system": "aws-api", "rpc.service": "S3", "rpc.method": operation, ...placeOf(input) };
    const answer = await tracing.inSpan({ kind: "client", name: `S3 ${operation}`, fields }, async (span) => {
      try {
        return { result: await act() };
      } catch (error) {
        const outcome = outcomeOf(error);
        finish(outcome);
        span.set({ "slipway.outcome": outcome });
        if (outcome === "absent" || outcome === "condition") return { error };
        throw error;
      }
    });
    if ("error" in answer) throw answer.error;
    finish("ok");
    return answer.result;
  };
  if (s3 instanceof LeanS3Client) s3.around = observed;
  s3.middlewareStack.add(
    (next, { commandName = "UnknownCommand" }) =>
      (args) =>
        observed(commandName.replace(/Command$/, ""), args.input, () => next(args)),
    { step: "initialize", name: "slipwayObserve", override: true },
  );
}

function placeOf(input: object): Record<string, string> {
  const { Bucket, Key } = input as { Bucket?: string; Key?: string };
  return { ...(Bucket === undefined ? {} : { "aws.s3.bucket": Bucket }), ...(Key === undefined ? {} : { "aws.s3.key": Key }) };
}

function outcomeOf(error: unknown): S3Outcome {
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode;
  if (name === "AbortError") return "aborted";
  if (status === 404) return "absent";
  if (status === 409 || status === 412) return "condition";
  return status !== undefined && status < 500 ? "refused" : "failed";
}
