import { z } from "zod";
import type { HttpAnswer } from "./http-exchange.ts";
import { UpstreamError, parseRetryAfter, shownPath, upstreamFault, withoutQuery } from "./upstream-error.ts";

/** A manifest of many children names each that is missing. */
const errorBodyLimitBytes = 1024 * 1024;

const errorBody = z.object({
  errors: z.array(z.object({ code: z.string(), message: z.string().optional(), detail: z.unknown().optional() })).min(1),
});

/**
 * The whole body of a successful answer.
 * @throws UpstreamError the registry's own for any other status, ANSWER_INVALID for a body longer than `limitBytes`.
 */
export async function readWhole(answer: HttpAnswer, limitBytes: number): Promise<Buffer> {
  if (answer.status < 200 || answer.status > 299) throw await refusal(answer);
  const bytes = await readUpTo(answer, limitBytes);
  if (bytes.length > limitBytes)
    throw upstreamFault("ANSWER_INVALID", answer.url, `Cannot read the answer of ${answer.url.host}: over ${limitBytes} bytes`);
  return bytes;
}

/** Lets go of the connection, kept alive when there is nothing left to read. */
export async function discard(answer: HttpAnswer): Promise<void> {
  await readUpTo(answer, errorBodyLimitBytes);
}

/** The error that an unwelcome answer means. */
export async function refusal(answer: HttpAnswer): Promise<UpstreamError> {
  const { status, url, headers } = answer;
  const text = await readUpTo(answer, errorBodyLimitBytes).catch(() => Buffer.alloc(0));
  const first = parseErrors(text);
  const retryAfterMs = parseRetryAfter(headers["retry-after"], Date.now());
  const detail = first === undefined ? "" : `: ${first.code}${first.message === undefined ? "" : ` ${first.message.slice(0, 300)}`}`;
  return new UpstreamError(`${url.host} answered ${status} for ${shownPath(url)}${detail}`, {
    code: first?.code ?? `HTTP_${status}`,
    status,
    url: withoutQuery(url),
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(first?.detail === undefined ? {} : { detail: first.detail }),
  });
}

async function readUpTo({ body }: HttpAnswer, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    sizeBytes += chunk.length;
    if (sizeBytes > limitBytes) break;
  }
  return Buffer.concat(chunks);
}

function parseErrors(text: Buffer): z.infer<typeof errorBody>["errors"][0] | undefined {
  try {
    return errorBody.parse(JSON.parse(text.toString("utf8"))).errors[0];
  } catch {
    return undefined;
  }
}
