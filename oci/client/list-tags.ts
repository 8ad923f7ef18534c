import { z } from "zod";
import { type Tag, isTag } from "../repository.ts";
import { discard, readWhole } from "./answer.ts";
import type { HttpAnswer } from "./http-exchange.ts";
import { upstreamFault } from "./upstream-error.ts";

const pageLimitBytes = 16 * 1024 * 1024;
const mostPages = 1000;

const tagPage = z.object({ tags: z.array(z.string()).nullish() });

/** end-8a: all tags of a repository, page after page as the `Link` headers lead; undefined when the repository is unknown. */
export async function readTags(get: (url: URL) => Promise<HttpAnswer>, first: URL): Promise<readonly Tag[] | undefined> {
  const tags: Tag[] = [];
  let next: URL | undefined = first;
  for (let page = 0; next !== undefined; page += 1) {
    if (page === mostPages) throw upstreamFault("ANSWER_INVALID", next, `Cannot list the tags of ${next.host}: over ${mostPages} pages`);
    const answer: HttpAnswer = await get(next);
    if (answer.status === 404) {
      await discard(answer);
      return undefined;
    }
    tags.push(...parsePage(await readWhole(answer, pageLimitBytes), answer.url));
    next = nextPage(answer, first);
  }
  return tags;
}

function parsePage(bytes: Buffer, url: URL): Tag[] {
  try {
    return (tagPage.parse(JSON.parse(bytes.toString("utf8"))).tags ?? []).filter(isTag);
  } catch (cause) {
    throw upstreamFault("ANSWER_INVALID", url, `Cannot read the tag list of ${url.host}`, cause);
  }
}

/** The page that `Link: <…>; rel="next"` names, on the registry's own origin only. */
function nextPage({ headers, url }: HttpAnswer, first: URL): URL | undefined {
  const link = headers.link;
  const target = /<([^>]+)>\s*;\s*rel="?next"?/.exec(Array.isArray(link) ? link.join(",") : (link ?? ""))?.[1];
  if (target === undefined || !URL.canParse(target, url.href)) return undefined;
  const next = new URL(target, url);
  return next.origin === first.origin ? next : undefined;
}
